"""API tokens and enrollment tokens: random secrets, stored as hashes."""

import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user of the admin API.

    Attributes:
        name: name of the person or machine.
        scope: `viewer`, `publisher`, `release-manager` or `admin`.
    """

    name: str
    scope: str


def new_secret(prefix: str) -> str:
    """A token of 256 random bits; people and secret scanners recognize it by the prefix."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> str:
    """SHA-256 of a token, hex: enough for a random secret, which cannot be guessed like a password."""
    return hashlib.sha256(secret.encode()).hexdigest()
