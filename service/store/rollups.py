"""Outcomes by the minute, how older ones are put together, and their running totals."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Table

FINER_THAN_HOUR = "extract(minute from minute at time zone 'UTC') <> 0"
FINER_THAN_DAY = "extract(hour from minute at time zone 'UTC') <> 0"
"""Rollups that can still be put together, word for word as in their two indexes."""


class Outcomes(Table):
    """Outcomes of a rollout by stage, class of device and arm.

    Attributes:
        early: outcomes that came within an hour of the offer; `early_bad`: those of them that were no commit.
    """

    __abstract__ = True

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    stratum: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    offered: Mapped[int] = mapped_column(server_default="0")
    committed: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    rolled_back: Mapped[int] = mapped_column(server_default="0")
    timed_out: Mapped[int] = mapped_column(server_default="0")
    withdrawn: Mapped[int] = mapped_column(server_default="0")
    early: Mapped[int] = mapped_column(server_default="0")
    early_bad: Mapped[int] = mapped_column(server_default="0")
    bytes_sent: Mapped[int] = mapped_column(server_default="0")


class RollupRow(Outcomes):
    """Outcomes per minute: what dashboards and forecasts read instead of events.

    Older ones are put together, into hours and then days (`fold_minutes`, `fold_hours`).
    """

    __tablename__ = "rollups"
    __table_args__ = (
        Index("ix_rollups_minutes", "minute", postgresql_where=text(FINER_THAN_HOUR)),
        Index("ix_rollups_hours", "minute", postgresql_where=text(FINER_THAN_DAY)),
    )

    minute: Mapped[datetime] = mapped_column(primary_key=True)


class OutcomeTotalRow(Outcomes):
    """The same over all minutes: what gates read. Triggers write it, in the transaction of what is counted.

    Attributes:
        waiting: open attempts that have staged the version, of a rollout that has not been activated yet.
    """

    __tablename__ = "outcome_totals"

    waiting: Mapped[int] = mapped_column(server_default="0")


_FOLD_MINUTES = """
with old as (
  delete from rollups where ctid in (
    select ctid from rollups where minute < :before and {finer} limit :limit
  ) returning *
)
insert into rollups (rollout_id, stage, stratum, arm, minute, offered, committed, failed, rolled_back, timed_out,
                     withdrawn, early, early_bad, bytes_sent)
select rollout_id, stage, stratum, arm, date_trunc('{unit}', minute, 'UTC'), sum(offered), sum(committed), sum(failed),
       sum(rolled_back), sum(timed_out), sum(withdrawn), sum(early), sum(early_bad), sum(bytes_sent)
from old group by 1, 2, 3, 4, 5
on conflict (rollout_id, stage, stratum, arm, minute) do update set
  offered = rollups.offered + excluded.offered,
  committed = rollups.committed + excluded.committed,
  failed = rollups.failed + excluded.failed,
  rolled_back = rollups.rolled_back + excluded.rolled_back,
  timed_out = rollups.timed_out + excluded.timed_out,
  withdrawn = rollups.withdrawn + excluded.withdrawn,
  early = rollups.early + excluded.early,
  early_bad = rollups.early_bad + excluded.early_bad,
  bytes_sent = rollups.bytes_sent + excluded.bytes_sent
"""


_FOLDING = text("select set_config('graylag.folding', :says, true)")
"""For the triggers that sum up: what is put together has been counted before."""


def fold_minutes(session: Session, *, before: datetime, limit: int) -> None:
    """Put minutes before a moment together into hours."""
    _fold(session, _FOLD_MINUTES.format(unit="hour", finer=FINER_THAN_HOUR), before, limit)


def fold_hours(session: Session, *, before: datetime, limit: int) -> None:
    """Put hours before a moment together into days (of UTC)."""
    _fold(session, _FOLD_MINUTES.format(unit="day", finer=FINER_THAN_DAY), before, limit)


def _fold(session: Session, query: str, before: datetime, limit: int) -> None:
    session.execute(_FOLDING, {"says": "on"})
    session.execute(text(query), {"before": before, "limit": limit})
    session.execute(_FOLDING, {"says": "off"})


OUTCOMES = ("offered", "committed", "failed", "rolled_back", "timed_out", "withdrawn", "bytes_sent")
RETURNED = "returned"
"""The arm of attempts that bring devices back: what they report says nothing about the version."""


def totals(session: Session, rollout_id: UUID, names: Sequence[str]) -> Sequence[Any]:
    """Rows of stage, stratum, arm, and the counts that are named."""
    row = OutcomeTotalRow
    query = select(row.stage, row.stratum, row.arm, *(getattr(row, name) for name in names))
    return session.execute(query.where(row.rollout_id == rollout_id)).all()


def tallies(session: Session, rollout_id: UUID) -> dict[int, dict[str, int]]:
    """Outcomes per stage on the way out, over all strata and arms: stage -> name -> count."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for stage, _, arm, *counts in totals(session, rollout_id, OUTCOMES):
        if arm != RETURNED:
            found[stage].update(dict(zip(OUTCOMES, counts, strict=True)))
    return {stage: dict(counts) for stage, counts in found.items()}


def returns(session: Session, rollout_id: UUID) -> dict[str, int]:
    """Outcomes of devices that are brought back, over all stages: name -> count; empty before there are any."""
    found: Counter[str] = Counter()
    for _, _, arm, *counts in totals(session, rollout_id, OUTCOMES):
        if arm == RETURNED:
            found.update(dict(zip(OUTCOMES, counts, strict=True)))
    return dict(found)
