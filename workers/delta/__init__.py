"""The patch engine: pure functions over files, without the service."""
