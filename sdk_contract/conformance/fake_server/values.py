"""Small values that the fake server and the scenarios share: versions, requests, digests, times."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sdk_contract.documents import format_timestamp

MODEL = "demo"
TOKEN = "let-me-in"  # noqa: S105 - the enrollment token of a fake server


def sha256_hex(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def timestamp_in(**span: float) -> str:
    """The timestamp `timedelta(**span)` from now, in the form of documents."""
    return format_timestamp(datetime.now(UTC) + timedelta(**span))


def unchecked_json(value: Any) -> bytes:
    """`value` as JSON, without the checks of `strict_json`."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(slots=True)
class Version:
    """A version with one variant, called `default`.

    Attributes:
        files: component name -> bytes.
    """

    label: str
    counter: int
    files: dict[str, bytes]
    floor: int = 0
    issued: str = field(default_factory=timestamp_in)
    expires: str = field(default_factory=lambda: timestamp_in(days=90))


@dataclass(slots=True)
class RecordedRequest:
    """One request that the SDK sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
