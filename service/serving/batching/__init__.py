"""Batching: concurrent reads share one query, concurrent writes share one transaction (group commit)."""
