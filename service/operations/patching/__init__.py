"""Patches: planning, requests, and the life cycle from queued to retired."""
