"""Webhook messages: their event types, their bytes and their signatures.

Signatures follow Standard Webhooks 1.0.0 (www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.domain.rollouts.lifecycle import TRANSITIONS
from service.errors import InvalidWebhook

SECRET_BYTES = 32
_PREFIX = "whsec_"
TEST = "webhook.test"
_OTHER_EVENTS = ("create", "update", "pause_class", "resume_class")
EVENT_TYPES = frozenset(f"rollout.{word}" for word in (*_OTHER_EVENTS, *TRANSITIONS))
"""The event types: `rollout.` and the kind of the event in the rollout's history."""


def new_secret() -> str:
    """Return a new signing secret, in the form of the standard."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def subscribes_to(event_types: Collection[str], event_type: str) -> bool:
    """Return whether a webhook with these event types receives an event; no event types mean all of them."""
    return not event_types or event_type in event_types or event_type == TEST


def check_event_types(event_types: Sequence[str]) -> None:
    """Refuse unknown event types.

    Raises:
        InvalidWebhook: an event type is unknown; `field` is its place in the list.
    """
    for index, event_type in enumerate(event_types):
        if event_type not in EVENT_TYPES:
            raise InvalidWebhook(
                f"unknown event type {event_type!r}; use one of {', '.join(sorted(EVENT_TYPES))}",
                field=f"event_types.{index}",
            )


def event(event_type: str, data: Mapping[str, Any], text: str, now: datetime) -> dict[str, Any]:
    """Return the event that a webhook receives: `data` for programs, `text` for people."""
    return {"type": event_type, "timestamp": now.isoformat(), "text": text, "data": dict(data)}


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message."""
    return json.dumps(event, separators=(",", ":"), sort_keys=True).encode()


def signed_headers(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message, with one signature per secret.

    Args:
        keys: secrets in the form of `new_secret`, newest first.
        message_id: id of the message, the same for every attempt to send it.
        timestamp: time of this attempt, in seconds since 1970.
        body: exactly the bytes that are sent.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_signature(key, signed) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
    }


def _signature(key: str, signed: bytes) -> str:
    digest = hmac.digest(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
