"""Commands about devices and cohorts."""
