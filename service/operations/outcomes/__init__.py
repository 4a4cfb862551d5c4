"""Attempts of devices, the counts of their outcomes, metrics and events: what the hot path writes and gates read."""
