"""Outcomes of attempts: rollups per minute, and running totals."""

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
"""Conditions of rollups that can still be compacted; the two partial indexes use the same text."""


class OutcomeCounts(Table):
    """Outcome counts of a rollout by stage, device class and arm.

    Attributes:
        early_reports: outcomes reported within an hour of the offer.
        early_failures: those early reports that were failures.
    """

    __abstract__ = True

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    device_class: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    offered: Mapped[int] = mapped_column(server_default="0")
    committed: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    rolled_back: Mapped[int] = mapped_column(server_default="0")
    timed_out: Mapped[int] = mapped_column(server_default="0")
    withdrawn: Mapped[int] = mapped_column(server_default="0")
    early_reports: Mapped[int] = mapped_column(server_default="0")
    early_failures: Mapped[int] = mapped_column(server_default="0")
    bytes_sent: Mapped[int] = mapped_column(server_default="0")


class OutcomeRollupRow(OutcomeCounts):
    """Outcome counts per minute, which dashboards and forecasts read instead of events.

    Older rows are compacted into hours, then days (`operations.outcomes.outcome_rollups`).
    """

    __tablename__ = "outcome_rollups"
    __table_args__ = (
        Index("ix_outcome_rollups_minutes", "minute", postgresql_where=text(FINER_THAN_HOUR)),
        Index("ix_outcome_rollups_hours", "minute", postgresql_where=text(FINER_THAN_DAY)),
    )

    minute: Mapped[datetime] = mapped_column(primary_key=True)


class OutcomeTotalRow(OutcomeCounts):
    """Outcome counts over all minutes, which gates read.

    Triggers maintain this table in the transaction that changes `outcome_rollups` or `attempts`.

    Attributes:
        staged: open attempts that have staged the version, in a rollout that has not been activated yet.
    """

    __tablename__ = "outcome_totals"

    staged: Mapped[int] = mapped_column(server_default="0")


GATE_COUNTS = (
    "offered",
    "committed",
    "failed",
    "rolled_back",
    "timed_out",
    "withdrawn",
    "early_reports",
    "early_failures",
)
"""The counts that gates read."""
OUTCOMES = ("offered", "committed", "failed", "rolled_back", "timed_out", "withdrawn", "bytes_sent")
RETURNED = "returned"
"""The arm of rollback attempts: their outcomes say nothing about the version."""


def totals(session: Session, rollout_id: UUID, names: Sequence[str]) -> Sequence[Any]:
    """Return rows of stage, device class, arm, and the named counts."""
    row = OutcomeTotalRow
    query = select(row.stage, row.device_class, row.arm, *(getattr(row, name) for name in names))
    return session.execute(query.where(row.rollout_id == rollout_id)).all()


def counts_by_stage(session: Session, rollout_id: UUID) -> dict[int, dict[str, int]]:
    """Return the outcomes of installs over all device classes and arms: stage -> name -> count."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for stage, _, arm, *counts in totals(session, rollout_id, OUTCOMES):
        if arm != RETURNED:
            found[stage].update(dict(zip(OUTCOMES, counts, strict=True)))
    return {stage: dict(counts) for stage, counts in found.items()}


def rollback_counts(session: Session, rollout_id: UUID) -> dict[str, int]:
    """Return the outcomes of rollbacks over all stages: name -> count; empty before the first."""
    found: Counter[str] = Counter()
    for _, _, arm, *counts in totals(session, rollout_id, OUTCOMES):
        if arm == RETURNED:
            found.update(dict(zip(OUTCOMES, counts, strict=True)))
    return dict(found)
