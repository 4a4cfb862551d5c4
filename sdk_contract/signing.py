"""Writes and signs documents. Verification on a device uses nothing of this module."""

import base64
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol

from sdk_contract import strict_json
from sdk_contract.envelope import key_id, pae
from sdk_contract.validation import Validated


class Signer(Protocol):
    """An Ed25519 private key, in memory or in an external key store."""

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""

    def sign(self, message: bytes) -> bytes:
        """Signature of `message`, 64 raw bytes."""


@dataclass(frozen=True, kw_only=True)
class SignedDocument(Validated):
    """Base of documents that can be signed."""

    payload_type: ClassVar[str]

    def to_bytes(self) -> bytes:
        """The payload: JSON with sorted keys, no whitespace, and without fields that have their default value."""
        return strict_json.dumps(_to_json(self))

    def sign(self, signers: Iterable[Signer]) -> bytes:
        """The envelope of this document, signed by all of `signers`."""
        return sign_envelope(self.to_bytes(), self.payload_type, signers)


def sign_envelope(payload: bytes, payload_type: str, signers: Iterable[Signer]) -> bytes:
    """Sign `payload`; return the envelope as JSON bytes."""
    message = pae(payload_type, payload)
    signatures = [
        {"keyid": key_id(signer.public_key), "sig": _base64(signer.sign(message))} for signer in signers
    ]
    return strict_json.dumps(
        {"payloadType": payload_type, "payload": _base64(payload), "signatures": signatures}
    )


def _to_json(value: Any) -> Any:
    """`value` as JSON types, without fields that have their default value."""
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Validated):
        kind: Any = type(value)
        values, defaults = vars(value), _defaults(kind)
        return {name: _to_json(values[name]) for name, default in defaults if values[name] != default}
    if isinstance(value, list):
        return [_to_json(entry) for entry in value]
    return {name: _to_json(entry) for name, entry in value.items()} if isinstance(value, dict) else value


@cache
def _defaults(kind: Any) -> list[tuple[str, Any]]:
    """(field name, default) of every field of a dataclass; `MISSING` for required fields."""
    entries = ((entry.name, entry.default, entry.default_factory) for entry in fields(kind))
    return [(name, default if factory is MISSING else factory()) for name, default, factory in entries]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
