"""Compaction of old counts, so that reading them costs the same however long a rollout lasts.

The hot path counts per minute and never writes rows of the age that is compacted here.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service.operations.outcomes import metrics, outcome_rollups

KEEP_MINUTES = timedelta(hours=3)
KEEP_HOURS = timedelta(days=3)
KEEP_METRIC_DAYS = timedelta(days=3)
KEEP_SEEN_REPORTS = timedelta(days=30)
"""Counted from the end of the rollout; a report that comes later may count a device twice."""
MAX_ROWS = 20_000
"""Rows per table and run; the next run takes the rest."""


def compact(session: Session, *, now: datetime) -> None:
    """Merge minutes into hours, hours into days, and metric days into months; delete old records of counted reports."""
    outcome_rollups.compact_minutes(session, before=now - KEEP_MINUTES, limit=MAX_ROWS)
    outcome_rollups.compact_hours(session, before=now - KEEP_HOURS, limit=MAX_ROWS)
    metrics.compact_days(session, before=(now - KEEP_METRIC_DAYS).date(), limit=MAX_ROWS)
    metrics.delete_seen_reports(session, ended_before=now - KEEP_SEEN_REPORTS)
