"""Enrollment of devices, and changes of their keys. Writes `enrollment_tokens`."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from sdk_contract.envelope import key_id
from sdk_contract.wire import EnrollRequest, proof_message
from service import store
from service.errors import Conflict, Invalid, NameTaken, Unauthorized, WrongState
from service.infrastructure import tokens
from service.operations.fleet import devices
from service.operations.platform import audit


class DeviceExists(Conflict):
    """The id belongs to a device that may not enroll."""

    code, title = "device_exists", "Device id already enrolled"


def create_token(
    session: Session,
    name: str,
    *,
    actor: str,
    now: datetime,
    max_uses: int | None = None,
    expires_at: datetime | None = None,
    models: Sequence[str] | None = None,
) -> str:
    """Create an enrollment token and return its secret, which is stored as a hash only.

    Args:
        session: the transaction.
        name: the name of the token.
        actor: who creates it.
        now: the current time.
        max_uses: how many devices may enroll with it; None for any number.
        expires_at: when it expires; None for never.
        models: the models that its devices are served; None for all.

    Raises:
        NameTaken: there is a token with that name.
    """
    if store.tokens.enrollment_token_by_name(session, name) is not None:
        raise NameTaken(f"there is an enrollment token {name!r} already; choose another name", field="name")
    secret = tokens.new_secret("gle")
    session.add(
        store.tokens.EnrollmentTokenRow(
            name=name,
            hash=tokens.secret_hash(secret),
            max_uses=max_uses,
            expires_at=expires_at,
            models=list(models) if models is not None else None,
        )
    )
    audit.record(
        session, actor=actor, verb="enrollment_token.create", subject=f"enrollment_token:{name}", now=now
    )
    return secret


def enroll(
    session: Session, request: EnrollRequest, *, auto_accept_devices: bool, now: datetime
) -> store.devices.DeviceRow:
    """Enroll a device. Repeating the request with the same key changes nothing.

    If the device asks for another key, an operator has to accept that key; until then the old key stays valid.

    Raises:
        Unauthorized: the enrollment token is unknown, used up, expired or revoked.
        Invalid: the proof does not show that the device has the private key.
        DeviceExists: a device with that id is suspended or decommissioned.
    """
    public_key = base64.b64decode(request.public_key)
    _check_proof(request, public_key)
    existing = store.devices.device(session, request.device_id, lock=True)
    if existing is not None:
        if existing.public_key != public_key:
            _request_key_change(session, existing, public_key, request.enrollment_token, now)
        return existing
    token = _redeem_token(session, request.enrollment_token, now)
    row = store.devices.DeviceRow(
        id=request.device_id,
        public_key=public_key,
        status="accepted" if auto_accept_devices else "pending",
        attributes=request.attributes,
        admin_attributes={},
        models=token.models,
    )
    return devices.add(session, row)


def status_for_key(device: store.devices.DeviceRow, request: EnrollRequest) -> str:
    """The status of a device, `pending` if the key in the request has not been accepted yet."""
    requested = base64.b64decode(request.public_key)
    return device.status if device.public_key == requested else "pending"


def _request_key_change(
    session: Session, device: store.devices.DeviceRow, public_key: bytes, secret: str, now: datetime
) -> None:
    """Record the requested key; anyone with an enrollment token can ask, so an operator has to review it."""
    if device.status not in ("accepted", "pending"):
        raise DeviceExists(
            f"the device with this id is {device.status} and cannot enroll; ask the operator of the fleet",
            field="device_id",
        )
    if device.pending_key == public_key:
        return
    _redeem_token(session, secret, now)
    device.pending_key = public_key
    audit.record(
        session,
        actor=f"device:{device.id}",
        verb="device.request_key",
        subject=f"device:{device.id}",
        now=now,
        detail={"key_id": key_id(public_key)},
    )


def review_key(
    session: Session,
    device_id: str,
    requested_key_id: str,
    *,
    accept: bool,
    actor: str,
    reason: str,
    now: datetime,
) -> store.devices.DeviceRow:
    """Accept or reject the key that a device has requested.

    The request names the key by its id, so that a key requested in the meantime is not accepted by mistake.

    Raises:
        UnknownDevice: there is no such device.
        WrongState: this key is not pending.
    """
    row = devices.require(session, device_id, lock=True)
    if row.pending_key is None or key_id(row.pending_key) != requested_key_id:
        raise WrongState(f"device {device_id!r} has no pending key {requested_key_id}", state=row.status)
    if accept:
        row.public_key, row.secret_salt = row.pending_key, None
    row.pending_key = None
    verb = "device.accept_key" if accept else "device.reject_key"
    audit.record(
        session,
        actor=actor,
        verb=verb,
        subject=f"device:{device_id}",
        now=now,
        detail={"key_id": requested_key_id, "reason": reason},
    )
    return row


def auto_enroll(
    session: Session, device_id: str, *, auto_accept_devices: bool, now: datetime
) -> store.devices.DeviceRow:
    """The device that an identity provider has authenticated, inserted if it is new."""
    status = "accepted" if auto_accept_devices else "pending"
    if devices.add_if_new(session, device_id, status=status):
        audit.record(session, actor="idp", verb="device.auto_enroll", subject=f"device:{device_id}", now=now)
    return devices.require(session, device_id)


def issue_secret(
    session: Session, device_id: str, server_secret: bytes | None, *, actor: str, now: datetime
) -> bytes:
    """Create the shared secret of a device that authenticates by HMAC; an earlier secret becomes invalid.

    The device is inserted if it is new.

    Args:
        session: the transaction.
        device_id: id of the device.
        server_secret: the secret that device secrets are derived from; None if the server does not accept HMAC.
        actor: who issues it.
        now: the current time.

    Raises:
        Conflict: the server does not accept HMAC.
        WrongState: the device has a public key, or is suspended or decommissioned.
    """
    if server_secret is None:
        raise Conflict(
            "this server accepts no shared secrets; add `hmac` to GRAYLAG_DEVICE_AUTH and set GRAYLAG_HMAC_SECRET"
        )
    row = store.devices.device(session, device_id, lock=True)
    if row is None:
        row = store.devices.DeviceRow(id=device_id, status="accepted", attributes={}, admin_attributes={})
        devices.add(session, row)
    if row.public_key is not None:
        raise WrongState(
            f"{device_id} has a public key; a secret is for devices without one", state=row.status
        )
    if row.status not in ("accepted", "pending"):
        raise WrongState(f"{device_id} is {row.status}; accept it before issuing a secret", state=row.status)
    row.secret_salt = secrets.token_bytes(16)
    session.flush()
    audit.record(session, actor=actor, verb="device.issue_secret", subject=f"device:{device_id}", now=now)
    return tokens.derive_device_secret(server_secret, device_id, row.secret_salt)


def _check_proof(request: EnrollRequest, public_key: bytes) -> None:
    """Verify the proof with the verifier that polls use, so that an accepted key also works for polls."""
    message = proof_message(request.device_id, public_key, request.enrollment_token)
    try:
        signature = base64.b64decode(request.proof, validate=True)
    except ValueError:  # Includes binascii.Error; raised itself for non-ASCII text.
        signature = b""
    if not tokens.verifier_for(public_key).verify(signature, message):
        raise Invalid("the proof is not a signature of this request by public_key", field="proof")


def _redeem_token(session: Session, secret: str, now: datetime) -> store.tokens.EnrollmentTokenRow:
    token = store.tokens.enrollment_token(session, tokens.secret_hash(secret))
    if token is None or token.revoked:
        raise Unauthorized(
            "unknown or revoked enrollment token; ask the operator of the fleet for another",
            field="enrollment_token",
        )
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthorized(
            "the enrollment token has expired; ask the operator of the fleet for another",
            field="enrollment_token",
        )
    if token.max_uses is not None and token.uses >= token.max_uses:
        raise Unauthorized(
            "the enrollment token is used up; ask the operator of the fleet for another",
            field="enrollment_token",
        )
    token.uses += 1
    return token
