"""Devices, what they run, and the tokens that let them in."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Text

from service.store.base import Created, Serial, Table


class DeviceRow(Table):
    """A device that has enrolled.

    Attributes:
        public_key: what it signs with; absent where a shared secret or the app's identity provider vouches for it.
        pending_key: what it asks to sign with from now on; an operator decides.
        secret_salt: from which, with the server's secret, the shared one is derived.
        models: the only ones that it is served; absent for all.
    """

    __tablename__ = "devices"
    __table_args__ = (
        CheckConstraint("status in ('pending','accepted','suspended','decommissioned')", name="status"),
        # What every snapshot asks for, of a million rows: the few that are unlike the others.
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
    """What a device runs of a model, as it last said."""

    __tablename__ = "installations"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[str | None]
    seen_at: Mapped[datetime]


class ForgivenRow(Table):
    """Failures of a model's versions before this moment count no more against a device."""

    __tablename__ = "forgiven"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    at: Mapped[datetime]


class EnrolmentTokenRow(Table):
    """A secret that lets new devices in; only its hash is kept."""

    __tablename__ = "enrolment_tokens"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(unique=True)
    models: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    max_uses: Mapped[int | None]
    uses: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[datetime | None]
    revoked: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class ApiTokenRow(Table):
    """A secret of a person or a machine on the admin API; only its hash is kept.

    Attributes:
        person: who uses it; None for a token that stands for itself.
    """

    __tablename__ = "api_tokens"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[str]
    person: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    revoked: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]
    used_on: Mapped[datetime | None] = mapped_column(Date)


def device(session: Session, device_id: str, *, lock: bool = False) -> DeviceRow | None:
    """A device by its id."""
    return session.get(DeviceRow, device_id, with_for_update=lock)


def devices(session: Session, *, after: str = "", limit: int = 100) -> Sequence[DeviceRow]:
    """Devices in order of their id, from behind `after`."""
    return session.scalars(
        select(DeviceRow).where(DeviceRow.id > after).order_by(DeviceRow.id).limit(limit)
    ).all()


def installations(session: Session, device_id: str) -> Sequence[InstallationRow]:
    """What a device runs."""
    return session.scalars(select(InstallationRow).where(InstallationRow.device_id == device_id)).all()


def failed_models(session: Session, device_id: str) -> Sequence[str]:
    """Models of which a device has failed a version."""
    query = text(
        "select distinct model from attempts where device_id = :device "
        "and state in ('failed', 'rolled_back', 'rejected') order by model"
    )
    return session.scalars(query, {"device": device_id}).all()


def forgive(session: Session, device_id: str, models: Sequence[str], *, now: datetime) -> None:
    """Failures of these models up to now count no more."""
    rows = [{"device_id": device_id, "model": name, "at": now} for name in models]
    written = insert(ForgivenRow).values(rows)
    session.execute(
        written.on_conflict_do_update(index_elements=["device_id", "model"], set_={"at": written.excluded.at})
    )


def census(session: Session, model_name: str) -> dict[str, int]:
    """Devices per running version of a model, versions unknown to us included."""
    query = (
        select(InstallationRow.version, func.count())
        .where(InstallationRow.model == model_name, InstallationRow.version.is_not(None))
        .group_by(InstallationRow.version)
    )
    return {version: count for version, count in session.execute(query) if version}


def not_accepted(session: Session) -> Sequence[tuple[str, str]]:
    """Id and status of the devices that get nothing new."""
    query = select(DeviceRow.id, DeviceRow.status).where(DeviceRow.status != text("'accepted'"))
    return session.execute(query).all()


def with_admin_attributes(session: Session) -> Sequence[tuple[str, dict[str, Any]]]:
    """Id and attributes of the devices for which an operator has set some."""
    query = select(DeviceRow.id, DeviceRow.admin_attributes).where(
        DeviceRow.admin_attributes != text("'{}'::jsonb")
    )
    return session.execute(query).all()


def enrolment_token(session: Session, token_hash: str) -> EnrolmentTokenRow | None:
    """The enrolment token of that hash, locked, since its uses are counted."""
    return session.scalar(
        select(EnrolmentTokenRow).where(EnrolmentTokenRow.hash == token_hash).with_for_update()
    )


def api_token(session: Session, token_hash: str) -> ApiTokenRow | None:
    """The API token of that hash."""
    return session.scalar(select(ApiTokenRow).where(ApiTokenRow.hash == token_hash))


def people(session: Session, names: Collection[str]) -> dict[str, str]:
    """Name of a token, revoked ones too -> the person behind it; itself where nobody is named, or it is unknown."""
    query = select(ApiTokenRow.name, ApiTokenRow.person).where(ApiTokenRow.name.in_(names))
    return {name: name for name in names} | {name: person or name for name, person in session.execute(query)}


def api_tokens(session: Session) -> Sequence[ApiTokenRow]:
    """All API tokens, by name."""
    return session.scalars(select(ApiTokenRow).order_by(ApiTokenRow.name)).all()


def forget_api_tokens(session: Session, *, prefix: str, expired_before: datetime) -> None:
    """Delete tokens whose names begin so and that have long been useless; the audit log keeps their story."""
    session.execute(
        delete(ApiTokenRow).where(
            ApiTokenRow.name.startswith(prefix, autoescape=True), ApiTokenRow.expires_at < expired_before
        )
    )


def enrolment_token_by_name(session: Session, name: str) -> EnrolmentTokenRow | None:
    """The enrolment token of that name."""
    return session.scalar(select(EnrolmentTokenRow).where(EnrolmentTokenRow.name == name))
