"""DSSE envelopes: bytes, their type, and who vouches for both.

The signature covers PAE(type, payload) (DSSE 1.0.2), so the payload is never canonicalised, and it
is checked before any parser sees the payload. A threshold counts unique *public keys*: one key
listed under two ids is one voice.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract import strict_json
from sdk_contract.errors import Malformed, SignatureInvalid, ThresholdNotMet, UnknownKey, WrongPayloadType

MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Role:
    """Who may sign a kind of document.

    Attributes:
        keys: key id -> raw Ed25519 public key, 32 bytes.
        threshold: how many different keys must have signed, at least 1.
    """

    keys: Mapping[str, bytes]
    threshold: int


def key_id(public_key: bytes) -> str:
    """Short name of a key: the first 16 hex digits of its SHA-256. A hint, never a proof."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding, the bytes that are signed (DSSE 1.0.2, protocol.md)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def unseal(envelope: bytes, payload_type: str, role: Role, *, limit: int) -> bytes:
    """The payload of `envelope`, once `role` is known to vouch for it.

    Args:
        envelope: JSON bytes from outside.
        payload_type: the only kind of document that is welcome here.
        role: whose signatures count, and how many are needed.
        limit: bound of the envelope in bytes.

    Raises:
        Oversize: the envelope is longer than `limit`.
        Malformed: not an envelope.
        WrongPayloadType: an envelope of another kind.
        UnknownKey: no signature is by a key of the role.
        SignatureInvalid: a signature by a key of the role does not fit.
        ThresholdNotMet: too few different keys.
    """
    kind, payload, signatures = _parse(envelope, limit)
    if kind != payload_type:
        raise WrongPayloadType(f"expected {payload_type}, got {kind[:100]}")
    _count_voices(pae(kind, payload), signatures, role)
    return payload


def peek(envelope: bytes, *, limit: int) -> bytes:
    """The payload, **unverified**: for its digest, or to find which keys to ask about.

    Raises:
        Oversize: the envelope is longer than `limit`.
        Malformed: not an envelope.
    """
    return _parse(envelope, limit)[1]


def _count_voices(message: bytes, signatures: list[tuple[str, bytes]], role: Role) -> None:
    voices: set[bytes] = set()
    known = False
    for keyid, signature in signatures:
        public_key = role.keys.get(keyid)
        if public_key is None:
            continue
        known = True
        _verify(public_key, signature, message)
        voices.add(public_key)
    if not known:
        raise UnknownKey("no signature is by a key of this role")
    if len(voices) < max(1, role.threshold):
        raise ThresholdNotMet(f"{len(voices)} of {role.threshold} different keys have signed")


def _verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(f"signature by {key_id(public_key)} does not fit") from error


def _parse(envelope: bytes, limit: int) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    outer = strict_json.loads(envelope, limit=limit)
    try:
        kind, payload, entries = outer["payloadType"], outer["payload"], outer["signatures"]
        if not isinstance(entries, list):
            raise Malformed("signatures are a list")
        signatures = [(entry["keyid"], _decode(entry["sig"])) for entry in entries]
        parsed = kind, _decode(payload), signatures
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed("an envelope is {payloadType, payload, signatures: [{keyid, sig}]}") from error
    if not isinstance(kind, str) or not all(isinstance(keyid, str) for keyid, _ in signatures):
        raise Malformed("payloadType and keyid are strings")
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed(f"{len(signatures)} signatures, at most {MAX_SIGNATURES} are allowed")
    return parsed


def _decode(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise Malformed("not base64") from error
    if base64.b64encode(decoded).decode() != text:
        raise Malformed("base64 with stray bits at its end: libraries differ on it")
    return decoded
