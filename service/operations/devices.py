"""Devices once they are in: what they may, what is known of them, and what they run. Writes `devices`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import require_reason
from service.errors import Conflict, UnknownDevice, WrongState
from service.operations import audit

STATUSES = {
    "accept": (("pending", "suspended"), "accepted"),
    "suspend": (("accepted", "pending"), "suspended"),
    "decommission": (("pending", "accepted", "suspended"), "decommissioned"),
}
"""Verb -> from which statuses, to which."""


def find(session: Session, device_id: str) -> store.devices.DeviceRow | None:
    """A device by its id, if it has enrolled."""
    return store.devices.device(session, device_id)


def require(session: Session, device_id: str, *, lock: bool = False) -> store.devices.DeviceRow:
    """A device by its id.

    Raises:
        UnknownDevice: it has not been enrolled.
    """
    row = store.devices.device(session, device_id, lock=lock)
    if row is None:
        raise UnknownDevice(f"there is no device {device_id!r}", field="device_id")
    return row


def change_status(
    session: Session, device_id: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.devices.DeviceRow:
    """Accept, suspend or decommission a device.

    Raises:
        UnknownDevice: no such device.
        WrongState: the verb does not apply to its status.
    """
    sources, result = STATUSES[verb]
    row = require(session, device_id, lock=True)
    if row.status not in sources:
        raise WrongState(
            f"{verb} applies to {', '.join(sources)}; this device is {row.status}", state=row.status
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


def forgive(
    session: Session, device_id: str, model: str | None, *, actor: str, reason: str, now: datetime
) -> Sequence[str]:
    """Let a device try again what it failed so often that it was left alone; returns the models.

    Raises:
        UnknownDevice: no such device.
        Conflict: it has failed nothing of that model, or of any.
        ReasonRequired: nothing was said.
    """
    require_reason("forgiving a device", reason)
    require(session, device_id, lock=True)
    failed = store.devices.failed_models(session, device_id)
    models = [name for name in failed if model in (None, name)]
    if not models:
        raise Conflict(f"{device_id} has failed nothing of {model or 'any model'}", field="model")
    store.devices.forgive(session, device_id, models, now=now)
    audit.record(
        session,
        actor=actor,
        verb="device.forgive",
        subject=f"device:{device_id}",
        now=now,
        detail={"models": models, "reason": reason},
    )
    return models


def set_attributes(
    session: Session, device_id: str, attributes: dict[str, Any], *, actor: str, now: datetime
) -> store.devices.DeviceRow:
    """Set what an operator knows about a device; it outranks what the device says of itself."""
    row = require(session, device_id, lock=True)
    row.admin_attributes = attributes
    audit.record(
        session,
        actor=actor,
        verb="device.attributes",
        subject=f"device:{device_id}",
        now=now,
        detail={"attributes": attributes},
    )
    return row


def list_page(session: Session, *, after: str, limit: int) -> Sequence[store.devices.DeviceRow]:
    """Devices in order of their id."""
    return store.devices.devices(session, after=after, limit=limit)


def came_from(session: Session, device_id: str) -> dict[str, str | None]:
    """Model -> what the device ran before what it runs, where one of our rollouts brought it there."""
    return store.attempts.came_from(session, device_id)


def running(session: Session, device_id: str) -> Sequence[store.devices.InstallationRow]:
    """What a device runs, as it last said."""
    return store.devices.installations(session, device_id)
