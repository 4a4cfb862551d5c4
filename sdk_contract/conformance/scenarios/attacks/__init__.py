"""Scenarios with a malicious server: what an SDK must refuse."""
