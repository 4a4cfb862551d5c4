"""Tables and queries, one file per noun. Returns rows; never commits."""

from service.store import (
    devices,
    gates,
    jobs,
    patches,
    rollouts,
    rollups,
    templates,
    trust,
    versions,
    webhooks,
)
from service.store.base import Table

__all__ = [
    "Table",
    "devices",
    "gates",
    "jobs",
    "patches",
    "rollouts",
    "rollups",
    "templates",
    "trust",
    "versions",
    "webhooks",
]
