"""The hash chain of the audit log: each hash covers its entry and the hash before it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

GENESIS_HASH = "0" * 64
"""The hash before the first entry."""


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """An entry of the audit log and its hash.

    Attributes:
        id: position in the log.
        at: when it was written.
        actor: who acted.
        verb: what was done.
        subject: what it was done to.
        detail: further values.
        hash: hash of the entry, hex.
    """

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """The result of verifying a chain.

    Attributes:
        entries: number of valid entries.
        head: hash of the last valid entry.
        fault: the first invalid entry; None if all are valid.
        passed: the expected hash was found.
    """

    entries: int
    head: str
    fault: ChainEntry | None
    passed: bool


def entry_hash(
    previous: str, *, at: datetime, actor: str, verb: str, subject: str, detail: Mapping[str, Any]
) -> str:
    """Return the SHA-256 over an entry and the hash before it, hex."""
    fields = [previous, at.isoformat(), actor, verb, subject, json.dumps(_as_stored(detail), sort_keys=True)]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def verify_chain(entries: Iterable[ChainEntry], *, expected: str | None = None) -> ChainCheck:
    """Verify the chain from its start to the first invalid entry.

    Args:
        entries: all entries, in order.
        expected: a hash that was noted earlier and that the chain must contain.
    """
    head, count, passed = GENESIS_HASH, 0, expected == GENESIS_HASH
    for entry in entries:
        computed = entry_hash(
            head,
            at=entry.at,
            actor=entry.actor,
            verb=entry.verb,
            subject=entry.subject,
            detail=entry.detail,
        )
        if computed != entry.hash:
            return ChainCheck(count, head, entry, passed)
        head, count = entry.hash, count + 1
        passed = passed or head == expected
    return ChainCheck(count, head, None, passed)


def _as_stored(value: Any) -> Any:
    """Return a value as PostgreSQL's jsonb returns it: without exponents and without negative zero."""
    if isinstance(value, Mapping):
        return {key: _as_stored(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_stored(inner) for inner in value]
    if isinstance(value, float):
        return int(Decimal(repr(value))) if abs(value) >= 1e16 else value + 0.0
    return value
