"""The audit log: who did what and why, each entry chained to the one before. Writes `audit_log`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service import store
from service.domain import audit_chain

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
    previous = last.hash if last else audit_chain.START
    entry = store.jobs.AuditRow(
        at=now, actor=actor, verb=verb, subject=subject, detail=detail or {}, previous_hash=previous, hash=""
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    session.flush()


def entry_hash(entry: store.jobs.AuditRow) -> str:
    """SHA-256 over the entry and the hash of the one before it, hex."""
    return audit_chain.hash_of(
        entry.previous_hash,
        at=entry.at,
        actor=entry.actor,
        verb=entry.verb,
        subject=entry.subject,
        detail=entry.detail,
    )


def page(
    session: Session, *, after: int, before: int | None = None, subject: str | None = None, limit: int = 200
) -> Sequence[store.jobs.AuditRow]:
    """Entries from behind an id, oldest first; or the newest ones before one, oldest first too.

    Args:
        session: to read with.
        after: only entries behind this id.
        before: only the `limit` newest of those before this id.
        subject: only entries about this, for example `rollout:autumn`.
        limit: how many at most.
    """
    return store.jobs.audit(session, after=after, before=before, subject=subject, limit=limit)
