"""Patches: which ones are built, missing or unused."""
