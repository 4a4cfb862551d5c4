"""The exchange with the server: API calls, the poll, its verification, trust bundles and events."""
