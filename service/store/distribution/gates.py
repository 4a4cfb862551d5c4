"""Gate evaluations, and the counts that gates read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table
from service.store.distribution import outcomes


class DeviceClassRow(Table):
    """A device class that a rollout counts separately."""

    __tablename__ = "device_classes"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    device_class: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[Created]


class GateEvaluationRow(Table):
    """The result of one gate evaluation with the counts behind it; never changed."""

    __tablename__ = "gate_evaluations"
    __table_args__ = (Index("ix_gate_evaluations_rollout", "rollout_id", "id"),)

    id: Mapped[Serial]
    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    stage: Mapped[int] = mapped_column(SmallInteger)
    decision: Mapped[str]
    cause: Mapped[str]
    reason: Mapped[str]
    details: Mapped[dict[str, Any]]


def outcome_counts(session: Session, rollout_id: UUID) -> dict[tuple[int, str], dict[str, int]]:
    """Return the outcomes of the treatment arm: (stage, device class) -> name -> count."""
    return {
        (stage, device_class): dict(zip(outcomes.GATE_COUNTS, counts, strict=True))
        for stage, device_class, arm, *counts in outcomes.totals(session, rollout_id, outcomes.GATE_COUNTS)
        if arm == "treatment"
    }


def staged(session: Session, rollout_id: UUID) -> dict[tuple[int, str], int]:
    """Return the attempts that are staged and wait for activation: (stage, device class) -> count."""
    return {
        (stage, device_class): count
        for stage, device_class, arm, count in outcomes.totals(session, rollout_id, ["staged"])
        if arm == "treatment"
    }


def device_classes(session: Session, rollout_ids: Sequence[UUID]) -> dict[UUID, frozenset[str]]:
    """Return rollout -> the device classes that it counts separately."""
    query = (
        select(DeviceClassRow.rollout_id, func.array_agg(DeviceClassRow.device_class))
        .where(DeviceClassRow.rollout_id.in_(rollout_ids))
        .group_by(DeviceClassRow.rollout_id)
    )
    return {rollout_id: frozenset(names) for rollout_id, names in session.execute(query)}


def last_gate_evaluation(session: Session, rollout_id: UUID) -> GateEvaluationRow | None:
    """The newest evaluation of a rollout."""
    query = (
        select(GateEvaluationRow)
        .where(GateEvaluationRow.rollout_id == rollout_id)
        .order_by(GateEvaluationRow.id.desc())
    )
    return session.scalar(query.limit(1))


def gate_evaluations(session: Session, rollout_id: UUID, *, limit: int) -> Sequence[GateEvaluationRow]:
    """The evaluations of a rollout, newest first."""
    query = (
        select(GateEvaluationRow)
        .where(GateEvaluationRow.rollout_id == rollout_id)
        .order_by(GateEvaluationRow.id.desc())
    )
    return session.scalars(query.limit(limit)).all()
