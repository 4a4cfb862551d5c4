"""Scenarios about downloads, patches, crashes and disks."""
