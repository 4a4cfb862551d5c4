"""Rollouts, the attempts of devices to install a version, and what devices reported."""
