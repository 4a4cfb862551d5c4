"""Directives, sealed: what is the same in all of one kind is written once, and the rest set in between.

The bytes are those that the contract makes of a `Directive`: keys in order, no blanks, absent fields left out. To
write them by way of its classes would cost as much as the signature.
"""

import json
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any

from sdk_contract.documents import Directive, timestamp
from sdk_contract.envelope import key_id, pae
from sdk_contract.writing import Signer

DIRECTIVE_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Form:
    """What directives of one kind have in common, as JSON, up to the places of what they do not."""

    before_attempt: str
    before_issued: str
    before_next_poll: str
    before_digest: str
    end: str


def form(kind: Mapping[str, Any]) -> Form:
    """The form of directives that have these fields in common; those that are None are left out.

    Args:
        kind: `action`, `model`, `reason`, and where there are such `ext`, `manifest_sha256`, `variant`.
    """
    said = {name: f'"{name}":{_dumps(value)}' for name, value in kind.items() if value is not None}

    def field(name: str) -> str:
        return f"{said[name]}," if name in said else ""

    return Form(
        before_attempt=f"{{{field('action')}",
        before_issued=f'{field("ext")}"issued":',
        before_next_poll=f'{field("manifest_sha256")}{field("model")}"next_poll_s":',
        before_digest=f'{field("reason")}"request_sha256":"',
        end=f'",{said["variant"]}}}' if "variant" in said else '"}',
    )


class DirectiveSeal:
    """Seals directives with the director's key."""

    def __init__(self, director: Signer) -> None:
        """Sign with `director`."""
        self._sign = director.sign
        self._head = b'{"payload":"'
        kind, keyid = json.dumps(Directive.payload_type), json.dumps(key_id(director.public_key))
        self._middle = f'","payloadType":{kind},"signatures":[{{"keyid":{keyid},"sig":"'.encode()

    def sealed(
        self,
        kind: Form,
        now: datetime,
        *,
        device_id: str,
        nonce: str | None,
        request_sha256: str,
        attempt_id: str | None,
        next_poll_s: int,
    ) -> bytes:
        """The envelope, byte for byte what `Directive(...).seal([director])` makes.

        Nothing is validated again: the fields come from a request that was, and from our own tables.
        """
        issued, expires = _life(int(now.timestamp()))
        attempt = f'"attempt_id":{quoted(attempt_id)},' if attempt_id else ""
        echoed = f'"nonce":{quoted(nonce)},' if nonce else ""
        payload = (
            f'{kind.before_attempt}{attempt}"device_id":{quoted(device_id)},"expires":"{expires}",'
            f'{kind.before_issued}"{issued}",{kind.before_next_poll}{next_poll_s},{echoed}'
            f"{kind.before_digest}{request_sha256}{kind.end}"
        ).encode()
        signature = self._sign(pae(Directive.payload_type, payload))
        parts = self._head, _base64(payload), self._middle, _base64(signature), b'"}]}'
        return b"".join(parts)


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


@lru_cache(maxsize=4)
def _life(second: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(second, UTC)
    return timestamp(moment), timestamp(moment + DIRECTIVE_LIFETIME)
