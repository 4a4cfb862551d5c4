"""Devices and the versions that they run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Text

from service.store.base import Created, Table


class DeviceRow(Table):
    """An enrolled device.

    Attributes:
        public_key: verifies its signatures; None if it authenticates by a shared secret or an identity provider.
        pending_key: a new public key that it has requested and an operator has to review.
        secret_salt: derives the shared secret, together with the secret of the server.
        models: the models that it is served; None for all.
        admin_attributes: set by operators; they override `attributes`, which the device reports.
    """

    __tablename__ = "devices"
    __table_args__ = (
        CheckConstraint("status in ('pending','accepted','suspended','decommissioned')", name="status"),
        # Every snapshot reads the few devices that differ from the default, out of possibly a million.
        Index("ix_devices_not_accepted", "id", postgresql_where=text("status <> 'accepted'")),
        Index("ix_devices_admin_attributes", "id", postgresql_where=text("admin_attributes <> '{}'::jsonb")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    pending_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    secret_salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    models: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    status: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    admin_attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    enrolled_at: Mapped[Created]
    seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), index=True)


class InstallationRow(Table):
    """The version of a model that a device runs, as it last reported."""

    __tablename__ = "installations"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[str | None]
    seen_at: Mapped[datetime]


class FailureResetRow(Table):
    """A reset: failures of a device with versions of a model do not count before `at`."""

    __tablename__ = "failure_resets"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    at: Mapped[datetime]


def device(session: Session, device_id: str, *, lock: bool = False) -> DeviceRow | None:
    """A device by its id."""
    return session.get(DeviceRow, device_id, with_for_update=lock)


def devices(session: Session, *, after: str = "", limit: int = 100) -> Sequence[DeviceRow]:
    """Devices by id, those after `after`."""
    return session.scalars(
        select(DeviceRow).where(DeviceRow.id > after).order_by(DeviceRow.id).limit(limit)
    ).all()


def installations(session: Session, device_id: str) -> Sequence[InstallationRow]:
    """The versions that a device runs, one per model."""
    return session.scalars(select(InstallationRow).where(InstallationRow.device_id == device_id)).all()


def failed_models(session: Session, device_id: str) -> Sequence[str]:
    """The models with a version that the device has failed to install, sorted."""
    query = text(
        "select distinct model from attempts where device_id = :device "
        "and state in ('failed', 'rolled_back', 'rejected') order by model"
    )
    return session.scalars(query, {"device": device_id}).all()


def devices_per_version(session: Session, model_name: str) -> dict[str, int]:
    """Count the devices per running version of a model, including versions unknown to the server."""
    query = (
        select(InstallationRow.version, func.count())
        .where(InstallationRow.model == model_name, InstallationRow.version.is_not(None))
        .group_by(InstallationRow.version)
    )
    return {version: count for version, count in session.execute(query) if version}


def not_accepted(session: Session) -> Sequence[tuple[str, str]]:
    """Id and status of the devices that are not accepted."""
    query = select(DeviceRow.id, DeviceRow.status).where(DeviceRow.status != text("'accepted'"))
    return session.execute(query).all()


def with_admin_attributes(session: Session) -> Sequence[tuple[str, dict[str, Any]]]:
    """Id and attributes of the devices with attributes set by an operator."""
    query = select(DeviceRow.id, DeviceRow.admin_attributes).where(
        DeviceRow.admin_attributes != text("'{}'::jsonb")
    )
    return session.execute(query).all()
