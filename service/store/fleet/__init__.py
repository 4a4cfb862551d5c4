"""Devices, cohorts, and counts over the whole fleet."""
