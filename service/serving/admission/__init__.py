"""Admission control: rate limits, and load shedding under overload."""
