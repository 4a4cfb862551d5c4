"""What gates look at and what they said: strata, histograms of measurements, verdicts."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, ForeignKey, Index, SmallInteger, delete, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store import rollups
from service.store.base import Created, Serial, Table
from service.store.rollouts import RolloutRow

SHARES = ""
"""In place of a metric's name: devices that measure, counted by the chance that they had to be let in."""


class StratumRow(Table):
    """A class of device that a rollout counts by itself."""

    __tablename__ = "strata"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    stratum: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[Created]


class MetricNameRow(Table):
    """A name under which devices of a model have measured something."""

    __tablename__ = "metric_names"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[Created]


class MetricRollupRow(Table):
    """Measurements as a histogram: how many values fell into a bucket (see `domain.measures`)."""

    __tablename__ = "metric_rollups"
    __table_args__ = (
        Index("ix_metric_rollups_days", "day", postgresql_where=text("extract(day from day) <> 1")),
    )

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    stratum: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    count: Mapped[int]


class MetricTotalRow(Table):
    """The same, summed up for gates: how many values, the sum of their buckets and of the squares of these."""

    __tablename__ = "metric_totals"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    stratum: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    first: Mapped[int]
    second: Mapped[int]


class MetricMarkRow(Table):
    """That a device's value of a metric has been counted in a rollout; `mark` is a digest of the two."""

    __tablename__ = "metric_marks"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    mark: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class VerdictRow(Table):
    """What the gates said of a rollout, and the counts that they saw; never changed."""

    __tablename__ = "verdicts"
    __table_args__ = (Index("ix_verdicts_rollout", "rollout_id", "id"),)

    id: Mapped[Serial]
    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    stage: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[str]
    cause: Mapped[str]
    reason: Mapped[str]
    figures: Mapped[dict[str, Any]]


def outcomes(session: Session, rollout_id: UUID) -> dict[tuple[int, str], dict[str, int]]:
    """Outcomes of the treated devices: (stage, stratum) -> name -> count."""
    names = ("offered", "committed", "failed", "rolled_back", "timed_out", "withdrawn", "early", "early_bad")
    return {
        (stage, stratum): dict(zip(names, counts, strict=True))
        for stage, stratum, arm, *counts in rollups.totals(session, rollout_id, names)
        if arm == "treated"
    }


def waiting(session: Session, rollout_id: UUID) -> dict[tuple[int, str], int]:
    """Attempts that have all the bytes and wait for the word to switch: (stage, stratum) -> count."""
    return {
        (stage, stratum): count
        for stage, stratum, arm, count in rollups.totals(session, rollout_id, ["waiting"])
        if arm == "treated"
    }


def moments(session: Session, rollout_id: UUID, metrics: Sequence[str]) -> Sequence[Any]:
    """Rows of metric, stage, stratum, arm, count, and the sums of buckets (`first`) and of their squares (`second`)."""
    row = MetricTotalRow
    query = select(row.metric, row.stage, row.stratum, row.arm, row.count, row.first, row.second)
    return session.execute(query.where(row.rollout_id == rollout_id, row.metric.in_(metrics))).all()


def shares(session: Session, rollout_id: UUID) -> Sequence[tuple[int, str, int]]:
    """(chance in hundredths of a per cent, `in` or `out`, devices)."""
    row = MetricRollupRow
    query = (
        select(row.bucket, row.arm, func.sum(row.count).cast(BigInteger))
        .where(row.rollout_id == rollout_id, row.metric == SHARES)
        .group_by(row.bucket, row.arm)
    )
    return [(bucket, arm, count) for bucket, arm, count in session.execute(query)]


def measured(session: Session, rollout_id: UUID) -> Sequence[str]:
    """The names of what a rollout's devices have measured."""
    query = select(MetricTotalRow.metric).where(MetricTotalRow.rollout_id == rollout_id).distinct()
    return sorted(session.scalars(query))


def metric_names(session: Session, model: str) -> Sequence[str]:
    """The names, beyond the known ones, that a model's devices have ever used."""
    return session.scalars(select(MetricNameRow.name).where(MetricNameRow.model == model)).all()


def all_metric_names(session: Session) -> dict[str, frozenset[str]]:
    """Model -> the names that its devices have used."""
    query = select(MetricNameRow.model, func.array_agg(MetricNameRow.name)).group_by(MetricNameRow.model)
    return {model: frozenset(names) for model, names in session.execute(query)}


def strata(session: Session, rollout_ids: Sequence[UUID]) -> dict[UUID, frozenset[str]]:
    """Rollout -> the strata that it counts by themselves."""
    query = (
        select(StratumRow.rollout_id, func.array_agg(StratumRow.stratum))
        .where(StratumRow.rollout_id.in_(rollout_ids))
        .group_by(StratumRow.rollout_id)
    )
    return {rollout_id: frozenset(names) for rollout_id, names in session.execute(query)}


def last_verdict(session: Session, rollout_id: UUID) -> VerdictRow | None:
    """The newest verdict."""
    query = select(VerdictRow).where(VerdictRow.rollout_id == rollout_id).order_by(VerdictRow.id.desc())
    return session.scalar(query.limit(1))


def verdicts(session: Session, rollout_id: UUID, *, limit: int) -> Sequence[VerdictRow]:
    """The newest verdicts, newest first."""
    query = select(VerdictRow).where(VerdictRow.rollout_id == rollout_id).order_by(VerdictRow.id.desc())
    return session.scalars(query.limit(limit)).all()


def forget_marks(session: Session, *, ended_before: datetime) -> None:
    """Let go of marks of rollouts that have long ended: nothing is counted for them any more."""
    over = select(RolloutRow.id).where(RolloutRow.ended_at < ended_before)
    session.execute(delete(MetricMarkRow).where(MetricMarkRow.rollout_id.in_(over)))


_FOLD_DAYS = """
with old as (
  delete from metric_rollups where ctid in (
    select ctid from metric_rollups where day < :before and extract(day from day) <> 1 limit :limit
  ) returning *
)
insert into metric_rollups (rollout_id, metric, stage, stratum, arm, day, bucket, count)
select rollout_id, metric, stage, stratum, arm, cast(date_trunc('month', day) as date), bucket, sum(count)
from old group by 1, 2, 3, 4, 5, 6, 7
on conflict (rollout_id, metric, stage, stratum, arm, day, bucket) do update set
  count = metric_rollups.count + excluded.count
"""


def fold_days(session: Session, *, before: date, limit: int) -> None:
    """Put days of measurements before a date together into months."""
    session.execute(text(_FOLD_DAYS), {"before": before, "limit": limit})
