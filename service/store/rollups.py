"""Outcomes by the minute, and how older ones are put together."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Table

FINER_THAN_HOUR = "extract(minute from minute at time zone 'UTC') <> 0"
FINER_THAN_DAY = "extract(hour from minute at time zone 'UTC') <> 0"
"""Rollups that can still be put together, word for word as in their two indexes."""


class RollupRow(Table):
    """Outcomes per minute: what gates and dashboards read instead of events.

    Older ones are put together, into hours and then days (`fold_minutes`, `fold_hours`).

    Attributes:
        early: outcomes that came within an hour of the offer; `early_bad`: those of them that were no commit.
    """

    __tablename__ = "rollups"
    __table_args__ = (
        Index("ix_rollups_minutes", "minute", postgresql_where=text(FINER_THAN_HOUR)),
        Index("ix_rollups_hours", "minute", postgresql_where=text(FINER_THAN_DAY)),
    )

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    stratum: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    offered: Mapped[int] = mapped_column(server_default="0")
    committed: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    rolled_back: Mapped[int] = mapped_column(server_default="0")
    timed_out: Mapped[int] = mapped_column(server_default="0")
    withdrawn: Mapped[int] = mapped_column(server_default="0")
    early: Mapped[int] = mapped_column(server_default="0")
    early_bad: Mapped[int] = mapped_column(server_default="0")
    bytes_sent: Mapped[int] = mapped_column(server_default="0")


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


def fold_minutes(session: Session, *, before: datetime, limit: int) -> None:
    """Put minutes before a moment together into hours."""
    query = _FOLD_MINUTES.format(unit="hour", finer=FINER_THAN_HOUR)
    session.execute(text(query), {"before": before, "limit": limit})


def fold_hours(session: Session, *, before: datetime, limit: int) -> None:
    """Put hours before a moment together into days (of UTC)."""
    query = _FOLD_MINUTES.format(unit="day", finer=FINER_THAN_DAY)
    session.execute(text(query), {"before": before, "limit": limit})


OUTCOMES = ("offered", "committed", "failed", "rolled_back", "timed_out", "withdrawn", "bytes_sent")
RETURNED = "returned"
"""The arm of attempts that bring devices back: what they report says nothing about the version."""


def tallies(session: Session, rollout_id: UUID) -> dict[int, dict[str, int]]:
    """Outcomes per stage on the way out, summed over minutes, strata and arms: stage -> name -> count."""
    sums = [func.sum(getattr(RollupRow, name)) for name in OUTCOMES]
    query = select(RollupRow.stage, *sums).where(
        RollupRow.rollout_id == rollout_id, RollupRow.arm != RETURNED
    )
    return {
        row[0]: {name: int(value) for name, value in zip(OUTCOMES, row[1:], strict=True)}
        for row in session.execute(query.group_by(RollupRow.stage))
    }


def returns(session: Session, rollout_id: UUID) -> dict[str, int]:
    """Outcomes of devices that are brought back, over all stages: name -> count; empty before there are any."""
    sums = [func.sum(getattr(RollupRow, name)) for name in OUTCOMES]
    query = select(*sums).where(RollupRow.rollout_id == rollout_id, RollupRow.arm == RETURNED)
    found = session.execute(query).one()
    return {name: int(value) for name, value in zip(OUTCOMES, found, strict=True) if value is not None}
