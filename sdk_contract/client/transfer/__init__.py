"""Downloads of byte ranges with retries, and of single components."""
