"""What devices were offered, how far they are, and what they reported."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Date,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table
from service.store.devices import InstallationRow
from service.store.rollups import RollupRow
from service.store.versions import VersionRow


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


def under_way(session: Session) -> Sequence[int]:
    """Ids of the versions to which there are open attempts."""
    return session.scalars(
        select(AttemptRow.version_id).where(AttemptRow.closed_at.is_(None)).distinct()
    ).all()


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
