"""Enrolled devices: status, attributes, check-ins. Writes `devices`, `installations` and `failure_resets`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sdk_contract.envelope import key_id
from service import store
from service.domain.rollouts.lifecycle import require_reason
from service.errors import Conflict, UnknownDevice, WrongState
from service.operations.platform import audit

STATUS_CHANGES = {
    "accept": (("pending", "suspended"), "accepted"),
    "suspend": (("accepted", "pending"), "suspended"),
    "decommission": (("pending", "accepted", "suspended"), "decommissioned"),
}
"""Verb -> (statuses that it applies to, resulting status)."""

RECORD_CHECKINS = text(
    """
    with checkin as (
      select device_id, model, version, checkin.attributes, to_timestamp(checkin.at) as at
      from jsonb_to_recordset(cast(:checkins as jsonb))
        as checkin(device_id text, model text, version text, attributes jsonb, at double precision)
      join devices on devices.id = checkin.device_id
    ), seen as (
      update devices d set
        seen_at = greatest(d.seen_at, checkin.at),
        attributes = case when checkin.attributes = '{}'::jsonb then d.attributes else checkin.attributes end
      from (select distinct on (device_id) * from checkin order by device_id, at desc) checkin where d.id = checkin.device_id
    )
    insert into installations (device_id, model, version, seen_at)
    select device_id, model, version, at from checkin order by device_id, model
    on conflict (device_id, model) do update set
      version = coalesce(excluded.version, installations.version), seen_at = excluded.seen_at
    """
)
"""Record check-ins (`checkins`, a JSON array with one entry per device and model); unknown devices are ignored."""


def find(session: Session, device_id: str) -> store.devices.DeviceRow | None:
    """The enrolled device of that id, None if there is none."""
    return store.devices.device(session, device_id)


def require(session: Session, device_id: str, *, lock: bool = False) -> store.devices.DeviceRow:
    """The enrolled device of that id.

    Raises:
        UnknownDevice: there is none.
    """
    row = store.devices.device(session, device_id, lock=lock)
    if row is None:
        raise UnknownDevice(f"there is no device {device_id!r}; see `graylag device list`", field="device_id")
    return row


def add(session: Session, row: store.devices.DeviceRow) -> store.devices.DeviceRow:
    """Insert a device."""
    session.add(row)
    session.flush()
    return row


def add_if_new(session: Session, device_id: str, *, status: str) -> bool:
    """Insert a device without a key unless it exists; return whether it was inserted."""
    table = store.devices.DeviceRow
    query = insert(table).values(id=device_id, status=status).on_conflict_do_nothing().returning(table.id)
    return session.scalar(query) is not None


def change_status(
    session: Session, device_id: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.devices.DeviceRow:
    """Accept, suspend or decommission a device.

    Raises:
        UnknownDevice: there is no such device.
        WrongState: the verb does not apply to its status.
    """
    sources, result = STATUS_CHANGES[verb]
    row = require(session, device_id, lock=True)
    if row.status not in sources:
        raise WrongState(
            f"this device is {row.status}; {verb} applies to {', '.join(sources)}", state=row.status
        )
    row.status = result
    audit.record(
        session,
        actor=actor,
        verb=f"device.{verb}",
        subject=f"device:{device_id}",
        now=now,
        detail={"reason": reason},
    )
    return row


def clear_failures(
    session: Session, device_id: str, model: str | None, *, actor: str, reason: str, now: datetime
) -> Sequence[str]:
    """Let a device retry versions that have failed on it too often; return the affected models.

    Raises:
        UnknownDevice: there is no such device.
        Conflict: it has no failures, or none with that model.
        ReasonRequired: the reason is empty.
    """
    require_reason("clearing the failures of a device", reason)
    require(session, device_id, lock=True)
    failed = store.devices.failed_models(session, device_id)
    models = [name for name in failed if model in (None, name)]
    if not models:
        raise Conflict(f"{device_id} has no failed attempts of {model or 'any model'}", field="model")
    _reset_failures(session, device_id, models, now)
    audit.record(
        session,
        actor=actor,
        verb="device.clear_failures",
        subject=f"device:{device_id}",
        now=now,
        detail={"models": models, "reason": reason},
    )
    return models


def _reset_failures(session: Session, device_id: str, models: Sequence[str], now: datetime) -> None:
    rows = [{"device_id": device_id, "model": name, "at": now} for name in models]
    query = insert(store.devices.FailureResetRow).values(rows)
    session.execute(
        query.on_conflict_do_update(index_elements=["device_id", "model"], set_={"at": query.excluded.at})
    )


def set_attributes(
    session: Session, device_id: str, attributes: dict[str, Any], *, actor: str, now: datetime
) -> store.devices.DeviceRow:
    """Set the operator's attributes of a device; they override those that the device reports.

    Raises:
        UnknownDevice: there is no such device.
    """
    row = require(session, device_id, lock=True)
    row.admin_attributes = attributes
    audit.record(
        session,
        actor=actor,
        verb="device.set_attributes",
        subject=f"device:{device_id}",
        now=now,
        detail={"attributes": attributes},
    )
    return row


def list_page(session: Session, *, after: str, limit: int) -> Sequence[store.devices.DeviceRow]:
    """Devices by id, those after `after`."""
    return store.devices.devices(session, after=after, limit=limit)


def previous_versions(session: Session, device_id: str) -> dict[str, str | None]:
    """Return model -> the version that the device ran before its current one, if a rollout installed that."""
    return store.attempts.previous_versions(session, device_id)


def installations(session: Session, device_id: str) -> Sequence[store.devices.InstallationRow]:
    """The versions that a device runs, as last reported."""
    return store.devices.installations(session, device_id)


def view(session: Session, row: store.devices.DeviceRow) -> dict[str, Any]:
    """A device with the versions that it runs, as the API returns it."""
    fields = ("id", "status", "attributes", "admin_attributes", "enrolled_at", "seen_at", "models")
    return {
        **{name: getattr(row, name) for name in fields},
        "key_id": key_id(row.public_key) if row.public_key else None,
        "pending_key_id": key_id(row.pending_key) if row.pending_key else None,
        "installations": installations(session, row.id),
    }
