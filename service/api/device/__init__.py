"""The device API: polls, events, enrollment, access tokens and trust bundles."""
