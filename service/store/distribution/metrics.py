"""Metrics that devices report: names, histograms, totals, and which reports have been counted."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, ForeignKey, Index, SmallInteger, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table

SELECTION_PROBABILITY = ""
"""Reserved metric name: reporting devices, counted by their probability of being selected."""


class MetricNameRow(Table):
    """A metric name that devices of a model have used."""

    __tablename__ = "metric_names"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[Created]


class MetricHistogramRow(Table):
    """Metric values as a histogram: the number of values per bucket (see `domain.gates.metrics`)."""

    __tablename__ = "metric_histograms"
    __table_args__ = (
        Index("ix_metric_histograms_days", "day", postgresql_where=text("extract(day from day) <> 1")),
    )

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    device_class: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    count: Mapped[int]


class MetricTotalRow(Table):
    """Totals that gates read: the number of values, the sum of their buckets, and the sum of squared buckets."""

    __tablename__ = "metric_totals"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    device_class: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    bucket_sum: Mapped[int]
    bucket_square_sum: Mapped[int]


class MetricReportSeenRow(Table):
    """A record that a metric of a device has been counted in a rollout.

    Attributes:
        digest: 64 bits of a hash over device id, metric and arm.
    """

    __tablename__ = "metric_reports_seen"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


def metric_totals(session: Session, rollout_id: UUID, metrics: Sequence[str]) -> Sequence[Any]:
    """Return rows of metric, stage, device class, arm, count, bucket sum and sum of squared buckets."""
    row = MetricTotalRow
    query = select(
        row.metric, row.stage, row.device_class, row.arm, row.count, row.bucket_sum, row.bucket_square_sum
    )
    return session.execute(query.where(row.rollout_id == rollout_id, row.metric.in_(metrics))).all()


def selection_counts(session: Session, rollout_id: UUID) -> Sequence[tuple[int, str, int]]:
    """Return rows of (selection probability in hundredths of a percent, `in` or `out`, devices)."""
    row = MetricHistogramRow
    query = (
        select(row.bucket, row.arm, func.sum(row.count).cast(BigInteger))
        .where(row.rollout_id == rollout_id, row.metric == SELECTION_PROBABILITY)
        .group_by(row.bucket, row.arm)
    )
    return [(bucket, arm, count) for bucket, arm, count in session.execute(query)]


def reported_metrics(session: Session, rollout_id: UUID) -> Sequence[str]:
    """The metric names that the devices of a rollout have reported, sorted."""
    query = select(MetricTotalRow.metric).where(MetricTotalRow.rollout_id == rollout_id).distinct()
    return sorted(session.scalars(query))


def metric_names(session: Session, model: str) -> Sequence[str]:
    """The custom metric names that devices of a model have used."""
    return session.scalars(select(MetricNameRow.name).where(MetricNameRow.model == model)).all()


def all_metric_names(session: Session) -> dict[str, frozenset[str]]:
    """Return model -> the custom metric names that its devices have used."""
    query = select(MetricNameRow.model, func.array_agg(MetricNameRow.name)).group_by(MetricNameRow.model)
    return {model: frozenset(names) for model, names in session.execute(query)}
