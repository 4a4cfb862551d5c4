"""Every SQL statement that writes `outcome_rollups`: adding counts, and compacting old minutes.

Triggers add each change to `outcome_totals`. Compaction moves counts that are in the totals already, so it tells the
triggers to ignore its rows (`graylag.compacting`).
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from service.store.distribution.outcomes import FINER_THAN_DAY, FINER_THAN_HOUR, GATE_COUNTS

KEY = "rollout_id, stage, device_class, arm, minute"
COUNTS = (*GATE_COUNTS, "bytes_sent")


def add_counts(columns: Sequence[str], source: str) -> str:
    """Build the SQL that adds counts to the rollups.

    Args:
        columns: the columns to add to.
        source: a query whose columns are those of `KEY`, then one for each of `columns`; every key occurs once.
    """
    sums = ", ".join(f"{name} = outcome_rollups.{name} + excluded.{name}" for name in columns)
    return (
        f"insert into outcome_rollups ({KEY}, {', '.join(columns)}) {source} "
        f"on conflict ({KEY}) do update set {sums}"
    )


def _compact(unit: str, finer: str) -> str:
    sums = ", ".join(f"sum({name})" for name in COUNTS)
    key = f"rollout_id, stage, device_class, arm, date_trunc('{unit}', minute, 'UTC')"
    source = f"select {key}, {sums} from old group by 1, 2, 3, 4, 5"  # noqa: S608 - built from constants
    return f"""
    with old as (
      delete from outcome_rollups where ctid in (
        select ctid from outcome_rollups where minute < :before and {finer} limit :limit
      ) returning *
    )
    {add_counts(COUNTS, source)}
    """  # noqa: S608 - built from constants


_COMPACT_MINUTES = text(_compact("hour", FINER_THAN_HOUR))
_COMPACT_HOURS = text(_compact("day", FINER_THAN_DAY))
_SET_COMPACTING = text("select set_config('graylag.compacting', :value, true)")


def compact_minutes(session: Session, *, before: datetime, limit: int) -> None:
    """Merge up to `limit` rollups per minute, older than `before`, into rollups per hour."""
    _without_totals(session, _COMPACT_MINUTES, before, limit)


def compact_hours(session: Session, *, before: datetime, limit: int) -> None:
    """Merge up to `limit` rollups per hour, older than `before`, into rollups per day (UTC)."""
    _without_totals(session, _COMPACT_HOURS, before, limit)


def _without_totals(session: Session, statement: TextClause, before: datetime, limit: int) -> None:
    session.execute(_SET_COMPACTING, {"value": "on"})
    session.execute(statement, {"before": before, "limit": limit})
    session.execute(_SET_COMPACTING, {"value": "off"})
