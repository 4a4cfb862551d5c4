"""The chain that the audit log's entries form: each hash covers its entry and the hash before."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

START = "0" * 64
"""What stands before the first entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as far as its hash covers it, and that hash."""

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a walk along the chain has found.

    Attributes:
        entries: how many fit.
        head: the last of them's hash.
        fault: the first entry that does not fit; None if all do.
        passed: whether the walk came by the hash that it was told to look out for.
    """

    entries: int
    head: str
    fault: Entry | None
    passed: bool


def hash_of(
    previous: str, *, at: datetime, actor: str, verb: str, subject: str, detail: Mapping[str, Any]
) -> str:
    """SHA-256 over an entry and the hash of the one before it, hex."""
    fields = [previous, at.isoformat(), actor, verb, subject, json.dumps(_stored(detail), sort_keys=True)]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def walk(entries: Iterable[Entry], *, looking_for: str | None = None) -> Finding:
    """Go along the chain from its start, up to the first entry that does not fit."""
    head, count, passed = START, 0, looking_for == START
    for entry in entries:
        wanted = hash_of(
            head,
            at=entry.at,
            actor=entry.actor,
            verb=entry.verb,
            subject=entry.subject,
            detail=entry.detail,
        )
        if wanted != entry.hash:
            return Finding(count, head, entry, passed)
        head, count = entry.hash, count + 1
        passed = passed or head == looking_for
    return Finding(count, head, None, passed)


def _stored(value: Any) -> Any:
    """A value as PostgreSQL's jsonb gives it back: there are no exponents in it, and no negative zero."""
    if isinstance(value, Mapping):
        return {key: _stored(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_stored(inner) for inner in value]
    if isinstance(value, float):
        return int(Decimal(repr(value))) if abs(value) >= 1e16 else value + 0.0
    return value
