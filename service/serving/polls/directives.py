"""Signed directives, written from templates: the shared fields are rendered once, the others are filled in.

The bytes equal those of `Directive(...).sign(...)`: sorted keys, no spaces, absent fields omitted. Going through those
classes would cost as much as the signature.
"""

import json
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any

from sdk_contract.documents import Directive, format_timestamp
from sdk_contract.envelope import key_id, pae
from sdk_contract.signing import Signer

DIRECTIVE_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DirectiveTemplate:
    """The JSON that many directives share, cut at the fields that differ."""

    before_attempt: str
    before_issued: str
    before_next_poll: str
    before_digest: str
    end: str


def directive_template(shared: Mapping[str, Any]) -> DirectiveTemplate:
    """The template of all directives that share these fields.

    Args:
        shared: `action`, `model`, `reason`, and optionally `ext`, `manifest_sha256`, `variant`; None omits a field.
    """
    rendered = {name: f'"{name}":{_to_json(value)}' for name, value in shared.items() if value is not None}

    def field(name: str) -> str:
        return f"{rendered[name]}," if name in rendered else ""

    return DirectiveTemplate(
        before_attempt=f"{{{field('action')}",
        before_issued=f'{field("ext")}"issued":',
        before_next_poll=f'{field("manifest_sha256")}{field("model")}"next_poll_s":',
        before_digest=f'{field("reason")}"request_sha256":"',
        end=f'",{rendered["variant"]}}}' if "variant" in rendered else '"}',
    )


class DirectiveSigner:
    """Signs directives with the director's key."""

    def __init__(self, director: Signer) -> None:
        """Sign with `director`."""
        self._sign = director.sign
        self._head = b'{"payload":"'
        payload_type, keyid = json.dumps(Directive.payload_type), json.dumps(key_id(director.public_key))
        self._middle = f'","payloadType":{payload_type},"signatures":[{{"keyid":{keyid},"sig":"'.encode()

    def sign(
        self,
        template: DirectiveTemplate,
        now: datetime,
        *,
        device_id: str,
        nonce: str | None,
        request_sha256: str,
        attempt_id: str | None,
        next_poll_s: int,
    ) -> bytes:
        """The envelope, byte for byte equal to `Directive(...).sign([director])`.

        Nothing is validated here: the fields come from a validated request and from our own tables.

        Args:
            template: the shared fields.
            now: the time of issue; the directive expires an hour later.
            device_id: the device that may act on the directive.
            nonce: the nonce of the request, if it had one.
            request_sha256: SHA-256 of the request's body, hex.
            attempt_id: the attempt, if there is an offer.
            next_poll_s: seconds until the device's next poll.
        """
        issued, expires = _validity(int(now.timestamp()))
        attempt_field = f'"attempt_id":{quoted(attempt_id)},' if attempt_id else ""
        nonce_field = f'"nonce":{quoted(nonce)},' if nonce else ""
        payload = (
            f'{template.before_attempt}{attempt_field}"device_id":{quoted(device_id)},"expires":"{expires}",'
            f'{template.before_issued}"{issued}",{template.before_next_poll}{next_poll_s},{nonce_field}'
            f"{template.before_digest}{request_sha256}{template.end}"
        ).encode()
        signature = self._sign(pae(Directive.payload_type, payload))
        parts = self._head, _base64(payload), self._middle, _base64(signature), b'"}]}'
        return b"".join(parts)


_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


@lru_cache(maxsize=4)
def _validity(second: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(second, UTC)
    return format_timestamp(moment), format_timestamp(moment + DIRECTIVE_LIFETIME)
