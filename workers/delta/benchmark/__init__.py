"""Benchmark of patch engines: `python -m workers.delta.benchmark FOLDER`."""
