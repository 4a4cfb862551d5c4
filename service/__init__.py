"""Decide and remember: the control plane."""
