"""DSSE envelopes: a payload, its type, and signatures over both.

The signatures cover PAE(type, payload) (DSSE 1.0.2), so the payload needs no canonical form, and the signatures are
verified before any parser reads the payload. Thresholds count unique public *keys*: one key listed under two ids
counts once.
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
    """The keys that may sign a kind of document.

    Attributes:
        keys: key id -> raw Ed25519 public key, 32 bytes.
        threshold: how many different keys must have signed, at least 1.
    """

    keys: Mapping[str, bytes]
    threshold: int


def key_id(public_key: bytes) -> str:
    """The first 16 hex digits of the key's SHA-256. Finds a key in a bundle; proves nothing."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are signed (DSSE 1.0.2, protocol.md)."""
    encoded_type = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(encoded_type), encoded_type, len(payload), payload)


def verify_envelope(envelope: bytes, payload_type: str, role: Role, *, limit: int) -> bytes:
    """Verify the signatures of `envelope` by `role`; return the payload.

    Args:
        envelope: JSON bytes from an untrusted source.
        payload_type: the only accepted type.
        role: the accepted keys and their threshold.
        limit: maximum size of the envelope in bytes.

    Raises:
        Oversize: the envelope is longer than `limit`.
        Malformed: the bytes are not an envelope.
        WrongPayloadType: the envelope has another type.
        UnknownKey: no signature is by a key of the role.
        SignatureInvalid: a signature by a key of the role does not verify.
        ThresholdNotMet: too few different keys have signed.
    """
    claimed_type, payload, signatures = _parse(envelope, limit)
    if claimed_type != payload_type:
        raise WrongPayloadType(f"expected {payload_type}, got {claimed_type[:100]}")
    _check_threshold(pae(claimed_type, payload), signatures, role)
    return payload


def unverified_payload(envelope: bytes, *, limit: int) -> bytes:
    """The payload, **unverified**: for its digest, or to find the keys that should have signed it.

    Raises:
        Oversize: the envelope is longer than `limit`.
        Malformed: the bytes are not an envelope.
    """
    return _parse(envelope, limit)[1]


def _check_threshold(message: bytes, signatures: list[tuple[str, bytes]], role: Role) -> None:
    signed_by: set[bytes] = set()
    for keyid, signature in signatures:
        public_key = role.keys.get(keyid)
        if public_key is not None:
            _verify_signature(public_key, signature, message)
            signed_by.add(public_key)
    if not signed_by:
        raise UnknownKey("no signature is by a key of this role")
    if len(signed_by) < max(1, role.threshold):
        raise ThresholdNotMet(f"{len(signed_by)} different keys have signed, {role.threshold} are required")


def _verify_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(f"the signature by key {key_id(public_key)} does not verify") from error


def _parse(envelope: bytes, limit: int) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    """Payload type, payload and (key id, signature) pairs."""
    outer = strict_json.loads(envelope, limit=limit)
    try:
        payload_type, payload, entries = outer["payloadType"], outer["payload"], outer["signatures"]
        if not isinstance(entries, list):
            raise Malformed("signatures must be a list")
        signatures = [(entry["keyid"], _decode_base64(entry["sig"])) for entry in entries]
        parsed = payload_type, _decode_base64(payload), signatures
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed("an envelope is {payloadType, payload, signatures: [{keyid, sig}]}") from error
    if not isinstance(payload_type, str) or not all(isinstance(keyid, str) for keyid, _ in signatures):
        raise Malformed("payloadType and keyid must be strings")
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed(f"{len(signatures)} signatures, at most {MAX_SIGNATURES} are allowed")
    return parsed


def _decode_base64(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise Malformed("not base64") from error
    # Libraries disagree on unused bits in the last character, so only one spelling is accepted.
    if base64.b64encode(decoded).decode() != text:
        raise Malformed("base64 whose last character has unused bits set")
    return decoded
