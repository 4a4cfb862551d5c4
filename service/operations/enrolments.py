"""How devices and their keys come in. Writes `devices` and `enrolment_tokens`."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sdk_contract.envelope import key_id
from sdk_contract.wire import EnrolRequest, proof_message
from service import store, tokens
from service.errors import Conflict, Invalid, NameTaken, Unauthorized, WrongState
from service.operations import audit, devices


class DeviceExists(Conflict):
    """The id belongs to a device with another key."""

    code, title = "device_exists", "Device id already enrolled"


def create_enrolment_token(
    session: Session,
    name: str,
    *,
    actor: str,
    now: datetime,
    max_uses: int | None = None,
    expires_at: datetime | None = None,
    models: Sequence[str] | None = None,
) -> str:
    """A secret that lets devices in, on demand for some models only; shown once, kept as a hash.

    Raises:
        NameTaken: there is a token of that name.
    """
    if store.devices.enrolment_token_by_name(session, name) is not None:
        raise NameTaken(f"there is an enrolment token {name!r}", field="name")
    secret = tokens.new_secret("gle")
    session.add(
        store.devices.EnrolmentTokenRow(
            name=name,
            hash=tokens.secret_hash(secret),
            max_uses=max_uses,
            expires_at=expires_at,
            models=list(models) if models is not None else None,
        )
    )
    audit.record(
        session, actor=actor, verb="enrolment_token.create", subject=f"enrolment_token:{name}", now=now
    )
    return secret


def enrol(
    session: Session, request: EnrolRequest, *, auto_accept: bool, now: datetime
) -> store.devices.DeviceRow:
    """Let a device in; the same device with the same key may say it again.

    With another key it waits for an operator, and the key that it had stays good until then.

    Raises:
        Unauthorized: the enrolment token is unknown, used up, expired or revoked.
        Invalid: the device does not hold the private half of its key.
        DeviceExists: the id belongs to a device that was taken out of service.
    """
    public_key = base64.b64decode(request.public_key)
    _check_proof(request, public_key)
    existing = store.devices.device(session, request.device_id, lock=True)
    if existing is not None:
        if existing.public_key != public_key:
            _ask_for_key(session, existing, public_key, request.enrolment_token, now)
        return existing
    token = _use_token(session, request.enrolment_token, now)
    device = store.devices.DeviceRow(
        id=request.device_id,
        public_key=public_key,
        status="accepted" if auto_accept else "pending",
        attributes=request.attributes,
        admin_attributes={},
        models=token.models,
    )
    session.add(device)
    session.flush()
    return device


def standing(device: store.devices.DeviceRow, request: EnrolRequest) -> str:
    """The status of a device as far as the key is concerned that this request was made with."""
    wanted = base64.b64decode(request.public_key)
    return device.status if device.public_key == wanted else "pending"


def _ask_for_key(
    session: Session, device: store.devices.DeviceRow, public_key: bytes, secret: str, now: datetime
) -> None:
    """Note the new key; whoever has an enrolment token can ask, so it changes nothing by itself."""
    if device.status not in ("accepted", "pending"):
        raise DeviceExists(f"the device of this id is {device.status}", field="device_id")
    if device.pending_key == public_key:
        return
    _use_token(session, secret, now)
    device.pending_key = public_key
    audit.record(
        session,
        actor=f"device:{device.id}",
        verb="device.ask_for_key",
        subject=f"device:{device.id}",
        now=now,
        detail={"key_id": key_id(public_key)},
    )


def decide_key(
    session: Session, device_id: str, wanted: str, *, accept: bool, actor: str, reason: str, now: datetime
) -> store.devices.DeviceRow:
    """Let a device sign with the key that it asked for, or not. Named by its id, so that no other slips in.

    Raises:
        UnknownDevice: no such device.
        WrongState: this is not the key that waits.
    """
    row = devices.require(session, device_id, lock=True)
    if row.pending_key is None or key_id(row.pending_key) != wanted:
        raise WrongState(f"no key {wanted} waits for device {device_id!r}", state=row.status)
    if accept:
        row.public_key, row.secret_salt = row.pending_key, None
    row.pending_key = None
    verb = "device.accept_key" if accept else "device.refuse_key"
    audit.record(
        session,
        actor=actor,
        verb=verb,
        subject=f"device:{device_id}",
        now=now,
        detail={"key_id": wanted, "reason": reason},
    )
    return row


def admit(session: Session, device_id: str, *, auto_accept: bool, now: datetime) -> store.devices.DeviceRow:
    """The device that the app's own identity provider vouches for; made when it comes for the first time."""
    status = "accepted" if auto_accept else "pending"
    made = session.scalar(
        insert(store.devices.DeviceRow)
        .values(id=device_id, status=status)
        .on_conflict_do_nothing()
        .returning(store.devices.DeviceRow.id)
    )
    if made is not None:
        audit.record(session, actor="idp", verb="device.admit", subject=f"device:{device_id}", now=now)
    return devices.require(session, device_id)


def issue_secret(
    session: Session, device_id: str, server_secret: bytes, *, actor: str, now: datetime
) -> bytes:
    """The shared secret of a device of the HMAC mode, made if it is new; an earlier secret ends at once.

    Raises:
        WrongState: the device has a key of its own, or was taken out of service.
    """
    row = store.devices.device(session, device_id, lock=True)
    if row is None:
        row = store.devices.DeviceRow(id=device_id, status="accepted", attributes={}, admin_attributes={})
        session.add(row)
    if row.public_key is not None or row.status not in ("accepted", "pending"):
        raise WrongState(
            f"{device_id} is {row.status} and has a key of its own; only a device without one gets a secret",
            state=row.status,
        )
    row.secret_salt = secrets.token_bytes(16)
    session.flush()
    audit.record(session, actor=actor, verb="device.issue_secret", subject=f"device:{device_id}", now=now)
    return tokens.derived_secret(server_secret, device_id, row.secret_salt)


def _check_proof(request: EnrolRequest, public_key: bytes) -> None:
    """By the check that its polls will meet: a key that passes here is one that the device can use."""
    message = proof_message(request.device_id, public_key, request.enrolment_token)
    try:
        signature = base64.b64decode(request.proof, validate=True)
    except ValueError:  # binascii.Error is one; a letter beyond ASCII another
        signature = b""
    if not tokens.check_of(public_key).fits(signature, message):
        raise Invalid("the proof is not a signature by public_key over this request", field="proof")


def _use_token(session: Session, secret: str, now: datetime) -> store.devices.EnrolmentTokenRow:
    token = store.devices.enrolment_token(session, tokens.secret_hash(secret))
    if token is None or token.revoked:
        raise Unauthorized("the enrolment token is not known here", field="enrolment_token")
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthorized("the enrolment token has expired", field="enrolment_token")
    if token.max_uses is not None and token.uses >= token.max_uses:
        raise Unauthorized("the enrolment token is used up", field="enrolment_token")
    token.uses += 1
    return token
