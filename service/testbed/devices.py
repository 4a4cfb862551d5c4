"""Synthetic devices and the requests that they send."""

import base64
import hashlib
import json
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.client.storage.identity import DeviceKey
from sdk_contract.formats import BSDIFF40, FULL, GLP1
from service.infrastructure.tokens import AUDIENCE, DEVICE_ASSERTION_TYPE, AccessTokens
from service.testbed.asgi import PreparedRequest

POLL, EVENTS = "/v1/model/update", "/v1/model/events"
"""Paths of the device API."""
REGIONS = ("cn-east", "cn-north", "eu-west", "us-east")
SOCS = ("sd8gen3", "dimensity9300", "kirin9010", "a17pro", "tensor-g4")
HOST = "models.example.com"
ASSERTION_LIFETIME_S = 240

_system_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class SyntheticDevice:
    """A device with attributes and a key of its own."""

    id: str
    attributes: dict[str, str | int]
    key: DeviceKey = field(default_factory=lambda: DeviceKey(Ed25519PrivateKey.generate()))


def synthetic_device(index: int) -> SyntheticDevice:
    """The device with this number; its id and attributes depend on the number alone, its key is new."""
    return SyntheticDevice(
        f"dev_{index:07d}",
        {
            "region": REGIONS[index % 4],
            "soc": SOCS[index % 5],
            "ram_mb": 4096 * (1 + index % 4),
            "os": "android",
            "app_version": f"5.{index % 7}.1",
            "user_group": "public",
        },
    )


def poll_fields(device_id: str, model: str, current: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a poll request as the reference client sends them, with a new nonce."""
    return {
        "device_id": device_id,
        "current_version": current,
        "model": model,
        "attributes": attributes,
        "accepts": [GLP1, BSDIFF40, FULL],
        "nonce": _base64url(secrets.token_bytes(16)),
        "trust_version": 1,
    }


def poll_body(device: SyntheticDevice, model: str, current: str) -> bytes:
    """The JSON body of a poll request."""
    return json.dumps(poll_fields(device.id, model, current, device.attributes)).encode()


def event_id(epoch_s: float, rng: random.Random = _system_random) -> str:
    """An event id: a UUID of version 7 with the given time.

    Args:
        epoch_s: seconds since 1970.
        rng: source of the random bits.
    """
    milliseconds = int(epoch_s * 1000) << 80
    return str(UUID(int=milliseconds | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)))


def events_body(count: int, attempts: Sequence[str] = ()) -> bytes:
    """The JSON body of a batch of events.

    Args:
        count: number of events.
        attempts: ids of attempts that the events report on, in turn; without any, the events are metrics.
    """
    now_s = time.time()
    events = []
    for index in range(count):
        event: dict[str, object] = {"event_id": event_id(now_s), "seq": index, "at": "2026-11-20T12:00:00Z"}
        if attempts:
            event |= {
                "attempt_id": attempts[index % len(attempts)],
                "state": "downloading",
                "bytes": 1 + index,
            }
        else:
            event |= {
                "state": "metrics",
                "version": "v1",
                "metrics": {"load_ms": 41.5, "tokens_per_s": 31.25},
            }
        events.append(event)
    return json.dumps(events).encode()


def access_token_request(
    device: SyntheticDevice, path: str, body: bytes, tokens: AccessTokens, now: datetime
) -> PreparedRequest:
    """A request with an access token, as a device gets it by enrollment."""
    return bearer_request(path, body, tokens.issue(device.id, {}, now))


def device_key_request(device: SyntheticDevice, path: str, body: bytes, now: datetime) -> PreparedRequest:
    """A request with a device-key token (EdDSA), valid for this one request."""
    issued = int(now.timestamp())
    header = {"alg": "EdDSA", "typ": DEVICE_ASSERTION_TYPE}
    claims = {
        "iss": device.id,
        "sub": device.id,
        "aud": AUDIENCE,
        "iat": issued,
        "exp": issued + ASSERTION_LIFETIME_S,
        "jti": secrets.token_urlsafe(16),
        "htm": "POST",
        "htu": f"https://{HOST}{path}",
        "bh": hashlib.sha256(body).hexdigest(),
    }
    signed = f"{_jws_part(header)}.{_jws_part(claims)}"
    return bearer_request(path, body, f"{signed}.{_base64url(device.key.sign(signed.encode()))}")


def bearer_request(path: str, body: bytes, token: str, *, host: str = HOST) -> PreparedRequest:
    """A POST with a bearer token; without an Authorization header if the token is empty."""
    headers = (
        (b"host", host.encode()),
        (b"user-agent", b"graylag-testbed/1"),
        (b"accept", b"application/json"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *(((b"authorization", f"Bearer {token}".encode()),) if token else ()),
    )
    return PreparedRequest(path, headers, body)


def _jws_part(value: object) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
