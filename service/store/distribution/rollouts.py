"""Rollouts with their stages, approvals and events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Integer,
    SmallInteger,
    exists,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from service.store.base import Created, Serial, Table, locked
from service.store.distribution.outcomes import OutcomeRollupRow
from service.store.releases.versions import VersionRow

SERVED = ("running", "completed", "rolled_back")
"""States in which a rollout offers something to devices."""
LIVE = (*SERVED, "paused", "halted", "scheduled")


class RolloutRow(Table):
    """A staged rollout of one version.

    Attributes:
        salt: decides which devices each percentage selects.
        stage: the ordinal of the open stage.
        paused_classes: device classes that a gate has paused, with reason and time.
        waiting_for: what keeps the rollout from continuing, in words; empty if nothing does.
    """

    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint(
            "state in ('draft','awaiting_approval','scheduled','running','paused','completed','halted',"
            "'rolled_back','cancelled')",
            name="state",
        ),
        CheckConstraint("on_breach in ('halt','rollback')", name="on_breach"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str]
    salt: Mapped[str]
    stage: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    stage_since: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    on_breach: Mapped[str] = mapped_column(server_default="halt")
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    reason: Mapped[str] = mapped_column(server_default="")
    created_by: Mapped[str]
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    paused_classes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    activated_at: Mapped[datetime | None]
    waiting_for: Mapped[str] = mapped_column(server_default="")

    stages: Mapped[list["StageRow"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="StageRow.ordinal"
    )


class StageRow(Table):
    """A stage of a rollout: a percentage of a cohort, gates, and the requirements for advancing."""

    __tablename__ = "stages"
    __table_args__ = (CheckConstraint("percent > 0 and percent <= 100", name="percent"),)

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    cohort: Mapped[str] = mapped_column(ForeignKey("cohorts.name"))
    percent: Mapped[float]
    advance_when: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    gates: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))


class RolloutEventRow(Table):
    """An event in the history of a rollout; never changed."""

    __tablename__ = "rollout_events"

    id: Mapped[Serial]
    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), index=True)
    at: Mapped[Created]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class ApprovalRow(Table):
    """One approval of a rollout."""

    __tablename__ = "approvals"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(server_default="")


def rollout(session: Session, rollout_id: UUID, *, lock: bool = False) -> RolloutRow | None:
    """A rollout with its stages."""
    query = select(RolloutRow).where(RolloutRow.id == rollout_id).options(selectinload(RolloutRow.stages))
    return session.scalar(locked(query) if lock else query)


def rollout_by_name(session: Session, name: str) -> RolloutRow | None:
    """A rollout by its name."""
    query = select(RolloutRow).where(RolloutRow.name == name).options(selectinload(RolloutRow.stages))
    return session.scalar(query)


def rollouts(session: Session, *, model: str | None = None, limit: int = 100) -> Sequence[RolloutRow]:
    """Rollouts, newest first."""
    query = select(RolloutRow).options(selectinload(RolloutRow.stages))
    if model is not None:
        query = query.where(RolloutRow.model == model)
    return session.scalars(query.order_by(RolloutRow.created_at.desc()).limit(limit)).all()


def drafts(session: Session) -> Sequence[RolloutRow]:
    """Rollouts that have neither been started nor submitted, by name."""
    query = select(RolloutRow).where(RolloutRow.state == "draft").options(selectinload(RolloutRow.stages))
    return session.scalars(query.order_by(RolloutRow.name)).all()


def live(session: Session) -> Sequence[RolloutRow]:
    """Rollouts that polls evaluate, in order: highest priority, newest version, newest rollout first."""
    query = (
        select(RolloutRow)
        .join(VersionRow, VersionRow.id == RolloutRow.version_id)
        .where(RolloutRow.state.in_(LIVE))
        .options(selectinload(RolloutRow.stages))
    )
    order = (RolloutRow.priority.desc(), VersionRow.counter.desc(), RolloutRow.created_at.desc())
    return session.scalars(query.order_by(*order)).all()


def monitored(session: Session, *, reported_since: datetime) -> Sequence[UUID]:
    """The ids of running rollouts, and of completed ones with outcomes after `reported_since`."""
    has_recent_outcomes = exists().where(
        OutcomeRollupRow.rollout_id == RolloutRow.id, OutcomeRollupRow.minute > reported_since
    )
    is_monitored = or_(RolloutRow.state == "running", (RolloutRow.state == "completed") & has_recent_outcomes)
    return session.scalars(select(RolloutRow.id).where(is_monitored).order_by(RolloutRow.id)).all()


def scheduled(session: Session) -> Sequence[UUID]:
    """The ids of rollouts that wait for their start time or their rollback patches, by priority."""
    query = select(RolloutRow.id).where(RolloutRow.state == "scheduled")
    return session.scalars(query.order_by(RolloutRow.priority.desc(), RolloutRow.created_at)).all()


def competing(session: Session, row: RolloutRow) -> Sequence[RolloutRow]:
    """Other running or paused rollouts with the same model and priority, oldest first."""
    query = (
        select(RolloutRow)
        .where(
            RolloutRow.model == row.model,
            RolloutRow.priority == row.priority,
            RolloutRow.id != row.id,
            RolloutRow.state.in_(("running", "paused")),
        )
        .options(selectinload(RolloutRow.stages))
    )
    return session.scalars(query.order_by(RolloutRow.created_at)).all()


def approvals(session: Session, rollout_id: UUID) -> Sequence[ApprovalRow]:
    """The approvals of a rollout, oldest first."""
    query = select(ApprovalRow).where(ApprovalRow.rollout_id == rollout_id)
    return session.scalars(query.order_by(ApprovalRow.at, ApprovalRow.actor)).all()


def authors(session: Session, row: RolloutRow) -> set[str]:
    """The actors that created a rollout or changed its draft."""
    query = select(RolloutEventRow.actor).where(
        RolloutEventRow.rollout_id == row.id, RolloutEventRow.kind == "update"
    )
    return {row.created_by, *session.scalars(query)}


def of_version(session: Session, version_id: int) -> Sequence[RolloutRow]:
    """All rollouts of a version in any state, oldest first."""
    query = select(RolloutRow).where(RolloutRow.version_id == version_id)
    return session.scalars(query.order_by(RolloutRow.created_at)).all()


def version_ids_in_states(session: Session, states: Sequence[str]) -> Sequence[int]:
    """The ids of versions that have a rollout in one of these states."""
    return session.scalars(select(RolloutRow.version_id).where(RolloutRow.state.in_(states)).distinct()).all()


def history(session: Session, rollout_id: UUID, *, limit: int = 200) -> Sequence[RolloutEventRow]:
    """The newest `limit` events of a rollout, oldest first."""
    query = select(RolloutEventRow).where(RolloutEventRow.rollout_id == rollout_id)
    newest = session.scalars(query.order_by(RolloutEventRow.id.desc()).limit(limit)).all()
    return list(reversed(newest))


def count_stages_using_cohort(session: Session, name: str) -> int:
    """Count the stages of rollouts that use a cohort."""
    return session.scalar(select(func.count()).where(StageRow.cohort == name)) or 0
