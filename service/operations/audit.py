"""The audit log: who did what and why, each entry chained to the one before. Writes `audit_log`."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service import store

_CHAIN_LOCK = 7_263_514_002
"""Advisory lock: entries are chained one after the other."""


def record(
    session: Session,
    *,
    actor: str,
    verb: str,
    subject: str,
    now: datetime,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add an entry in the transaction of what it tells about: both or neither."""
    session.execute(text(f"select pg_advisory_xact_lock({_CHAIN_LOCK})"))
    last = store.jobs.last_audit(session)
    previous = last.hash if last else "0" * 64
    entry = store.jobs.AuditRow(
        at=now, actor=actor, verb=verb, subject=subject, detail=detail or {}, previous_hash=previous, hash=""
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    session.flush()


def entry_hash(entry: store.jobs.AuditRow) -> str:
    """SHA-256 over the entry and the hash of the one before it, hex."""
    fields = [
        entry.previous_hash,
        entry.at.isoformat(),
        entry.actor,
        entry.verb,
        entry.subject,
        json.dumps(entry.detail, sort_keys=True),
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def page(session: Session, *, after: int) -> Sequence[store.jobs.AuditRow]:
    """Entries from behind an id, oldest first."""
    return store.jobs.audit(session, after=after)
