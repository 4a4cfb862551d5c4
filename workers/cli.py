"""Entrance of `graylag patch` and `graylag bench` (entry points in `pyproject.toml`)."""

from workers.commands.bench import app as bench
from workers.commands.patch import app as patch

__all__ = ["bench", "patch"]
