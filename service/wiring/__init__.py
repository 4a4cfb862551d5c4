"""Builds the parts of an API process from the settings, and closes them at the end."""
