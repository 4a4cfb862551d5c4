"""Attempts of devices to install a version, and the bandwidth that rollouts have used."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Table
from service.store.distribution.outcomes import OutcomeRollupRow
from service.store.fleet.devices import InstallationRow
from service.store.releases.versions import VersionRow


class AttemptRow(Table):
    """One attempt of a device to install a version, or to roll back to one.

    Attributes:
        action: `install` or `rollback`.
        arm: `treatment`, or `returned` for a rollback; the control group has no attempts.
        failure_fingerprint: see `domain.polling.failure_fingerprint`.
        downloaded: whether the device has reported that it has all bytes; never reset.
        seq: the highest sequence number among the events of this attempt.
        events: the number of events.
        lease_until: when the attempt times out unless the device reports.
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
        Index("ix_attempts_rollout_open", "rollout_id", postgresql_where=text("closed_at is null")),
        Index(
            "ix_attempts_downloading",
            "rollout_id",
            postgresql_where=text("closed_at is null and not downloaded"),
        ),
        Index(
            "ix_attempts_staged",
            "rollout_id",
            "stage",
            "device_class",
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
    device_class: Mapped[str] = mapped_column(server_default="")
    arm: Mapped[str] = mapped_column(server_default="treatment")
    action: Mapped[str]
    from_version: Mapped[str | None]
    failure_fingerprint: Mapped[str] = mapped_column(server_default="")
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


class BandwidthUsageRow(Table):
    """Bytes that a rollout with a pacing limit has offered in one minute."""

    __tablename__ = "bandwidth_usage"

    rollout_id: Mapped[UUID] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    bytes: Mapped[int]


def versions_with_open_attempts(session: Session) -> Sequence[int]:
    """The ids of versions that open attempts install."""
    return session.scalars(
        select(AttemptRow.version_id).where(AttemptRow.closed_at.is_(None)).distinct()
    ).all()


def offered_since(session: Session, rollout_id: UUID, minute: datetime) -> int:
    """Count the install attempts offered since a minute."""
    query = select(func.coalesce(func.sum(OutcomeRollupRow.offered), 0)).where(
        OutcomeRollupRow.rollout_id == rollout_id,
        OutcomeRollupRow.minute >= minute,
        OutcomeRollupRow.arm == "treatment",
    )
    return int(session.scalar(query) or 0)


def count_downloading(session: Session, rollout_id: UUID, *, at_most: int) -> int:
    """Count the open attempts that do not have all bytes yet, up to `at_most`."""
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


def previous_versions(session: Session, device_id: str) -> dict[str, str | None]:
    """Return model -> the version that the device ran before its current one.

    Taken from the last committed attempt to install the current version.
    """
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
    return dict(session.execute(query).all())  # The last attempt of each model wins.
