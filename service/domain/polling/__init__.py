"""The decision on a poll, and its explanation."""
