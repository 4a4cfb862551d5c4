"""Devices of the benchmark and what they send: a key each, tokens of both kinds, polls and reports."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.client.identity import DeviceKey
from service.cli.bench.asgi import Call
from service.tokens import AUDIENCE, DEVICE_TYPE, AccessTokens

POLL, EVENTS = "/v1/model/update", "/v1/model/events"
REGIONS = ("cn-east", "cn-north", "eu-west", "us-east")
SOCS = ("sd8gen3", "dimensity9300", "kirin9010", "a17pro", "tensor-g4")


@dataclass(frozen=True, slots=True)
class Handset:
    """One device of the benchmark."""

    id: str
    attributes: dict[str, str | int]
    key: DeviceKey = field(default_factory=lambda: DeviceKey(Ed25519PrivateKey.generate()))


def handset(index: int) -> Handset:
    """The device of that number; the same attributes every time."""
    return Handset(
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


def poll_body(device: Handset, model: str, current: str) -> bytes:
    """What the reference client sends."""
    body = {
        "device_id": device.id,
        "current_version": current,
        "model": model,
        "attributes": device.attributes,
        "accepts": ["glp1", "bsdiff40", "full"],
        "nonce": base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
        "trust_version": 1,
    }
    return json.dumps(body).encode()


def events_body(count: int, attempts: Sequence[str] = ()) -> bytes:
    """A batch of reports: states of attempts where there are some, and metrics."""
    stamp = int(time.time() * 1000)
    events = []
    for index in range(count):
        event_id = UUID(
            int=stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
        )
        event: dict[str, object] = {"event_id": str(event_id), "seq": index, "at": "2026-11-20T12:00:00Z"}
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


def with_access_token(device: Handset, path: str, body: bytes, tokens: AccessTokens, now: datetime) -> Call:
    """A request with a token of its own, as after enrolment."""
    return bearer_call(path, body, tokens.issue(device.id, {}, now))


def with_device_key(device: Handset, path: str, body: bytes, now: datetime) -> Call:
    """A request signed by the device's own key (EdDSA), good for this one request."""
    issued = int(now.timestamp())
    header = {"alg": "EdDSA", "typ": DEVICE_TYPE}
    claims = {
        "iss": device.id,
        "sub": device.id,
        "aud": AUDIENCE,
        "iat": issued,
        "exp": issued + 240,
        "jti": secrets.token_urlsafe(16),
        "htm": "POST",
        "htu": f"https://models.example.com{path}",
        "bh": hashlib.sha256(body).hexdigest(),
    }
    signed = f"{_part(header)}.{_part(claims)}"
    return bearer_call(path, body, f"{signed}.{_encode(device.key.sign(signed.encode()))}")


def bearer_call(path: str, body: bytes, token: str, *, host: str = "models.example.com") -> Call:
    """A POST with a token, or without one where it is empty."""
    headers = (
        (b"host", host.encode()),
        (b"user-agent", b"graylag-bench/1"),
        (b"accept", b"application/json"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *(((b"authorization", f"Bearer {token}".encode()),) if token else ()),
    )
    return Call(path, headers, body)


def _part(value: object) -> str:
    return _encode(json.dumps(value).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
