"""Tables and the queries that read them, one module per subject.

Functions return rows. They never commit and never write: every table has one writing module in `service.operations`
or `service.serving` (`tests/test_table_writers.py`).
"""

from service.store.base import Table
from service.store.distribution import attempts, events, gates, metrics, outcomes, rollouts, templates
from service.store.fleet import cohorts, devices
from service.store.platform import audit, idempotency, jobs, serving_epoch, tokens, webhooks
from service.store.releases import blobs, patches, trust, versions

__all__ = [
    "Table",
    "attempts",
    "audit",
    "blobs",
    "cohorts",
    "devices",
    "events",
    "gates",
    "idempotency",
    "jobs",
    "metrics",
    "outcomes",
    "patches",
    "rollouts",
    "serving_epoch",
    "templates",
    "tokens",
    "trust",
    "versions",
    "webhooks",
]
