"""Cohorts, rollouts, stages, their history, and what came back from devices."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    exists,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column, relationship, selectinload

from service.store.base import Created, Serial, Table, locked
from service.store.devices import InstallationRow
from service.store.rollups import RollupRow
from service.store.versions import VersionRow

SERVED = ("running", "completed", "rolled_back")
"""States in which a rollout says something to devices."""
LIVE = (*SERVED, "paused", "halted", "scheduled")


class CohortRow(Table):
    """A named part of the fleet: by rule, by list, or both."""

    __tablename__ = "cohorts"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    rule: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    updated_at: Mapped[Created]


class CohortMemberRow(Table):
    """A device that was put into a cohort by name."""

    __tablename__ = "cohort_members"

    cohort: Mapped[str] = mapped_column(ForeignKey("cohorts.name", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)


class RolloutRow(Table):
    """One version on its way to the fleet."""

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
    held: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    activated_at: Mapped[datetime | None]
    waits_for: Mapped[str] = mapped_column(server_default="")

    stages: Mapped[list["StageRow"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="StageRow.ordinal"
    )


class StageRow(Table):
    """A step of a rollout: a share of a cohort, and what must hold before the next step."""

    __tablename__ = "stages"
    __table_args__ = (CheckConstraint("percent > 0 and percent <= 100", name="percent"),)

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    cohort: Mapped[str] = mapped_column(ForeignKey("cohorts.name"))
    percent: Mapped[float]
    hold: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    gates: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))


class RolloutEventRow(Table):
    """What happened to a rollout, by whom and why; never changed."""

    __tablename__ = "rollout_events"

    id: Mapped[Serial]
    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), index=True)
    at: Mapped[Created]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class ApprovalRow(Table):
    """One person's word for a rollout."""

    __tablename__ = "approvals"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(server_default="")


class AttemptRow(Table):
    """One device's way to one version.

    Attributes:
        circumstances: see `domain.penalty`.
        downloaded: the device has said that it has the bytes; it never takes that back.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        Index(
            "uq_attempts_open",
            "device_id",
            "model",
            unique=True,
            postgresql_where=text("closed_at is null"),
        ),
        Index("ix_attempts_lease", "lease_until", postgresql_where=text("closed_at is null")),
        Index("ix_attempts_rollout_closed", "rollout_id", postgresql_where=text("closed_at is null")),
        Index(
            "ix_attempts_downloading",
            "rollout_id",
            postgresql_where=text("closed_at is null and not downloaded"),
        ),
        Index(
            "ix_attempts_staged",
            "rollout_id",
            "stage",
            "stratum",
            postgresql_where=text("closed_at is null and state = 'staged'"),
        ),
        Index("ix_attempts_device_version", "device_id", "version_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    model: Mapped[str]
    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    stage: Mapped[int] = mapped_column(SmallInteger)
    stratum: Mapped[str] = mapped_column(server_default="")
    arm: Mapped[str] = mapped_column(server_default="treated")
    action: Mapped[str]
    from_version: Mapped[str | None]
    circumstances: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str]
    code: Mapped[str | None]
    downloaded: Mapped[bool] = mapped_column(server_default=text("false"))
    seq: Mapped[int] = mapped_column(Integer, server_default="-1")
    events: Mapped[int] = mapped_column(Integer, server_default="0")
    bytes_offered: Mapped[int] = mapped_column(server_default="0")
    bytes_sent: Mapped[int] = mapped_column(server_default="0")
    offered_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class PaceRow(Table):
    """Bytes that a paced rollout has offered in a minute."""

    __tablename__ = "pace"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    bytes: Mapped[int]


class EventRow(Table):
    """A report of a device, kept as it came; partitioned by day of its id, so that a retry finds itself."""

    __tablename__ = "events"
    __table_args__ = {"postgresql_partition_by": "RANGE (day)"}  # noqa: RUF012 - SQLAlchemy declares it so

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[str]
    attempt_id: Mapped[str | None] = mapped_column(index=True)
    state: Mapped[str]
    code: Mapped[str | None]
    body: Mapped[dict[str, Any]]
    received_at: Mapped[Created]


def cohort(session: Session, name: str, *, lock: bool = False) -> CohortRow | None:
    """A cohort by its name."""
    return session.get(CohortRow, name, with_for_update=lock)


def cohorts(session: Session) -> Sequence[CohortRow]:
    """All cohorts, by name."""
    return session.scalars(select(CohortRow).order_by(CohortRow.name)).all()


def list_marks(session: Session) -> dict[str, tuple[int, int]]:
    """Cohort name -> length and hash of its explicit list: equal marks, equal lists."""
    hashes = func.sum(func.hashtextextended(CohortMemberRow.device_id, 0))
    query = select(CohortMemberRow.cohort, func.count(), hashes).group_by(CohortMemberRow.cohort)
    return {name: (count, int(total)) for name, count, total in session.execute(query)}


def members_of(session: Session, cohort_name: str) -> frozenset[str]:
    """The explicit list of a cohort, fetched in pieces: turning one long array into text stops all other threads."""
    piece = func.hashtext(CohortMemberRow.device_id).op("&")(63)
    query = (
        select(func.array_agg(CohortMemberRow.device_id))
        .where(CohortMemberRow.cohort == cohort_name)
        .group_by(piece)
    )
    return frozenset().union(*session.scalars(query).yield_per(1))


def cohort_members(session: Session) -> dict[str, frozenset[str]]:
    """All explicit lists: cohort name -> device ids."""
    return {name: members_of(session, name) for name in list_marks(session)}


def member_counts(session: Session) -> dict[str, int]:
    """Cohort name -> length of its explicit list."""
    query = select(CohortMemberRow.cohort, func.count()).group_by(CohortMemberRow.cohort)
    return dict(session.execute(query).all())


def share_members(session: Session, name: str, other: str) -> bool:
    """Whether a device is on both explicit lists."""
    both = aliased(CohortMemberRow)
    query = select(CohortMemberRow.device_id).join(both, both.device_id == CohortMemberRow.device_id)
    found = session.scalar(query.where(CohortMemberRow.cohort == name, both.cohort == other).limit(1))
    return found is not None


def listed_cohorts(session: Session) -> Sequence[str]:
    """Cohorts that have an explicit list."""
    return session.scalars(select(CohortMemberRow.cohort).distinct()).all()


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
    """Rollouts that have not been started or submitted, by name."""
    query = select(RolloutRow).where(RolloutRow.state == "draft").options(selectinload(RolloutRow.stages))
    return session.scalars(query.order_by(RolloutRow.name)).all()


def live(session: Session) -> Sequence[RolloutRow]:
    """Rollouts that polls have to know, as they are asked: highest priority, newest version, newest rollout first."""
    query = (
        select(RolloutRow)
        .join(VersionRow, VersionRow.id == RolloutRow.version_id)
        .where(RolloutRow.state.in_(LIVE))
        .options(selectinload(RolloutRow.stages))
    )
    order = (RolloutRow.priority.desc(), VersionRow.counter.desc(), RolloutRow.created_at.desc())
    return session.scalars(query.order_by(*order)).all()


def watched(session: Session, *, reported_since: datetime) -> Sequence[UUID]:
    """Rollouts that run, and completed ones with outcomes since a moment."""
    fresh = exists().where(RollupRow.rollout_id == RolloutRow.id, RollupRow.minute > reported_since)
    looked_at = or_(RolloutRow.state == "running", (RolloutRow.state == "completed") & fresh)
    return session.scalars(select(RolloutRow.id).where(looked_at).order_by(RolloutRow.id)).all()


def scheduled(session: Session) -> Sequence[UUID]:
    """Rollouts that wait for their time or their rehearsal."""
    query = select(RolloutRow.id).where(RolloutRow.state == "scheduled")
    return session.scalars(query.order_by(RolloutRow.priority.desc(), RolloutRow.created_at)).all()


def rivals(session: Session, row: RolloutRow) -> Sequence[RolloutRow]:
    """Other rollouts of the same model and priority that give versions out now or after a pause, oldest first."""
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
    """Who has agreed to a rollout, in order."""
    query = select(ApprovalRow).where(ApprovalRow.rollout_id == rollout_id)
    return session.scalars(query.order_by(ApprovalRow.at, ApprovalRow.actor)).all()


def of_version(session: Session, version_id: int) -> Sequence[RolloutRow]:
    """Every rollout of a version, whatever its state, oldest first."""
    query = select(RolloutRow).where(RolloutRow.version_id == version_id)
    return session.scalars(query.order_by(RolloutRow.created_at)).all()


def given_out(session: Session, states: Sequence[str]) -> Sequence[int]:
    """Ids of the versions that rollouts in one of these states are about."""
    return session.scalars(select(RolloutRow.version_id).where(RolloutRow.state.in_(states)).distinct()).all()


def under_way(session: Session) -> Sequence[int]:
    """Ids of the versions to which there are open attempts."""
    return session.scalars(
        select(AttemptRow.version_id).where(AttemptRow.closed_at.is_(None)).distinct()
    ).all()


def uses_of_cohort(session: Session, name: str) -> int:
    """How many stages of unfinished rollouts name a cohort."""
    query = (
        select(func.count())
        .select_from(StageRow)
        .join(RolloutRow, RolloutRow.id == StageRow.rollout_id)
        .where(StageRow.cohort == name)
    )
    return session.scalar(query) or 0


def offered_since(session: Session, rollout_id: UUID, minute: datetime) -> int:
    """Attempts offered since a minute, going back not counted."""
    query = select(func.coalesce(func.sum(RollupRow.offered), 0)).where(
        RollupRow.rollout_id == rollout_id, RollupRow.minute >= minute, RollupRow.arm == "treated"
    )
    return int(session.scalar(query) or 0)


def downloading(session: Session, rollout_id: UUID, *, at_most: int) -> int:
    """Attempts that have not got all bytes yet, counted up to a bound."""
    open_ = (
        select(AttemptRow.id)
        .where(
            AttemptRow.rollout_id == rollout_id,
            AttemptRow.closed_at.is_(None),
            ~AttemptRow.downloaded,
            AttemptRow.action == "install",
        )
        .limit(at_most)
    )
    return session.scalar(select(func.count()).select_from(open_.subquery())) or 0


def history(session: Session, rollout_id: UUID, *, limit: int = 200) -> Sequence[RolloutEventRow]:
    """What happened to a rollout, oldest first; the newest of it, where it is long."""
    query = select(RolloutEventRow).where(RolloutEventRow.rollout_id == rollout_id)
    newest = session.scalars(query.order_by(RolloutEventRow.id.desc()).limit(limit)).all()
    return list(reversed(newest))


def came_from(session: Session, device_id: str) -> dict[str, str | None]:
    """Model -> version before the one that a device runs, from its last committed attempt to that one."""
    query = (
        select(AttemptRow.model, AttemptRow.from_version)
        .join(VersionRow, VersionRow.id == AttemptRow.version_id)
        .join(
            InstallationRow,
            (InstallationRow.device_id == AttemptRow.device_id)
            & (InstallationRow.model == AttemptRow.model)
            & (InstallationRow.version == VersionRow.label),
        )
        .where(AttemptRow.device_id == device_id, AttemptRow.state == "committed")
        .order_by(AttemptRow.closed_at)
    )
    return dict(session.execute(query).all())  # the last one of each model wins


def staged(session: Session, rollout_id: UUID) -> dict[tuple[int, str], int]:
    """Attempts that have all the bytes and wait to switch: (stage, stratum) -> count, from an index alone."""
    query = (
        select(AttemptRow.stage, AttemptRow.stratum, func.count())
        .where(
            AttemptRow.rollout_id == rollout_id,
            AttemptRow.closed_at.is_(None),
            text("state = 'staged'"),  # as the index says it, or the planner does not see that it fits
        )
        .group_by(AttemptRow.stage, AttemptRow.stratum)
    )
    return {(stage, stratum): count for stage, stratum, count in session.execute(query)}


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
