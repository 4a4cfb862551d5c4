"""Counts of the past are put together, so that looking at gates costs the same however long a rollout lasts.

The hot path counts by the minute; nobody looks at minutes of last week. Rows that are folded here are written
by nobody else any more. Writes `rollups`, `metric_rollups`, `metric_marks`.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service import store

MINUTES_FOR = timedelta(hours=3)
HOURS_FOR = timedelta(days=3)
DAYS_FOR = timedelta(days=3)
MARKS_FOR = timedelta(days=30)
"""After the end of a rollout; a report that comes later may count a device twice."""
AT_ONCE = 20_000
"""Rows of one go: the rest is there at the next."""


def fold(session: Session, *, now: datetime) -> None:
    """Put minutes together into hours, hours into days, days of measurements into months; let go of old marks."""
    store.rollups.fold_minutes(session, before=now - MINUTES_FOR, limit=AT_ONCE)
    store.rollups.fold_hours(session, before=now - HOURS_FOR, limit=AT_ONCE)
    store.gates.fold_days(session, before=(now - DAYS_FOR).date(), limit=AT_ONCE)
    store.gates.forget_marks(session, ended_before=now - MARKS_FOR)
