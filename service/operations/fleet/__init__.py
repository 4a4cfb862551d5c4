"""The fleet: devices, enrollment and cohorts."""
