"""Attempts: grant them to devices, within the bandwidth budget of each rollout."""
