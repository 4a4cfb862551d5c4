"""The exchange with the server: HTTP, API calls, the poll, its verification, trust bundles and events."""
