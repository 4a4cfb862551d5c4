"""Shared parts of the benchmarks and the simulator: servers, a populated database, devices and their requests."""
