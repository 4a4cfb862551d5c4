"""Scenarios with an honest server."""
