"""The other side of verification: documents as bytes, and their signatures. Nothing of it runs when a device checks one."""

import base64
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol

from sdk_contract import strict_json
from sdk_contract.envelope import key_id, pae
from sdk_contract.fields import Checked


class Signer(Protocol):
    """Someone who holds a private key, here or in a key store elsewhere."""

    @property
    def public_key(self) -> bytes:
        """32 raw bytes, Ed25519."""

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes, Ed25519 over `message`."""


@dataclass(frozen=True, kw_only=True)
class Written(Checked):
    """Base of what has one byte form."""

    payload_type: ClassVar[str]

    def to_bytes(self) -> bytes:
        """The bytes that are signed: sorted keys, no blanks, absent fields left out."""
        return strict_json.dumps(_plain(self))

    def seal(self, signers: Iterable[Signer]) -> bytes:
        """The document in an envelope signed by all of `signers`."""
        return seal(self.to_bytes(), self.payload_type, signers)


def seal(payload: bytes, payload_type: str, signers: Iterable[Signer]) -> bytes:
    """Sign `payload`; return the envelope as JSON bytes."""
    message = pae(payload_type, payload)
    signatures = [
        {"keyid": key_id(signer.public_key), "sig": _encode(signer.sign(message))} for signer in signers
    ]
    return strict_json.dumps(
        {"payloadType": payload_type, "payload": _encode(payload), "signatures": signatures}
    )


def _plain(value: Any) -> Any:
    """What JSON can hold: objects without the fields that say no more than their default."""
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Checked):
        kind: Any = type(value)
        held, defaults = vars(value), _defaults(kind)
        return {name: _plain(held[name]) for name, default in defaults if held[name] != default}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return {name: _plain(entry) for name, entry in value.items()} if isinstance(value, dict) else value


@cache
def _defaults(kind: Any) -> list[tuple[str, Any]]:
    made = ((entry.name, entry.default, entry.default_factory) for entry in fields(kind))
    return [(name, default if factory is MISSING else factory()) for name, default, factory in made]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
