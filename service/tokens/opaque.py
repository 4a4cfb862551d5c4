"""Opaque secrets of people and machines, and what time it is for all of them."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody on the admin API."""

    name: str
    scope: str


def new_secret(prefix: str) -> str:
    """An opaque token of 256 random bits; the prefix tells people and scanners what it is."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> str:
    """How an opaque token is kept: SHA-256, hex. Enough, since it is random and not a password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
