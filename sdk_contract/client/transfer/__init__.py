"""Downloads: HTTP, byte ranges with retries, single components, and whole updates."""
