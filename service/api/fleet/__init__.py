"""The admin API of devices and cohorts."""
