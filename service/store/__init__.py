"""Tables and queries, one file per noun. Returns rows; never commits."""

from service.store import (
    attempts,
    cohorts,
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
    "attempts",
    "cohorts",
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
