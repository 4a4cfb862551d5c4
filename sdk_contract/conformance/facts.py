"""The small things that servers and scenarios speak of: versions, requests, digests, times."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sdk_contract.documents import timestamp

MODEL = "demo"
TOKEN = "let-me-in"  # noqa: S105 - the enrolment token of a server that lives for a second


def sha(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def later(**span: float) -> str:
    """A time from now, as documents write it."""
    return timestamp(datetime.now(UTC) + timedelta(**span))


def encode(value: Any) -> bytes:
    """JSON without any of the checks that honest documents go through."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(slots=True)
class Version:
    """A version: its files by component name, in one variant called `default`."""

    label: str
    counter: int
    files: dict[str, bytes]
    floor: int = 0
    issued: str = field(default_factory=later)
    expires: str = field(default_factory=lambda: later(days=90))


@dataclass(slots=True)
class Seen:
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
