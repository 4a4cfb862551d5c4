"""The audit log: who did what, when and why. Every entry is chained to the previous one by a hash. Writes `audit_log`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service import store
from service.domain.platform import audit_chain

_CHAIN_LOCK = 7_263_514_002
"""Advisory lock that makes entries wait for each other, so that the chain does not fork."""


def record(
    session: Session,
    *,
    actor: str,
    verb: str,
    subject: str,
    now: datetime,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add an entry in the transaction of the change that it describes, so that neither exists without the other.

    Args:
        session: the transaction of the change.
        actor: who made the change, for example the name of an API token.
        verb: what was done, for example `rollout.start`.
        subject: what it was done to, for example `rollout:autumn`.
        now: the current time.
        detail: further facts as JSON.
    """
    session.execute(text(f"select pg_advisory_xact_lock({_CHAIN_LOCK})"))
    last = store.audit.last_entry(session)
    entry = store.audit.AuditEntryRow(
        at=now,
        actor=actor,
        verb=verb,
        subject=subject,
        detail=detail or {},
        previous_hash=last.hash if last else audit_chain.GENESIS_HASH,
        hash="",
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    session.flush()


def entry_hash(entry: store.audit.AuditEntryRow) -> str:
    """The SHA-256 of an entry and the hash of the previous one, in hex."""
    return audit_chain.entry_hash(
        entry.previous_hash,
        at=entry.at,
        actor=entry.actor,
        verb=entry.verb,
        subject=entry.subject,
        detail=entry.detail,
    )


def list_entries(
    session: Session, *, after: int, before: int | None = None, subject: str | None = None, limit: int = 200
) -> Sequence[store.audit.AuditEntryRow]:
    """Entries in id order: the oldest after an id, or the newest before one.

    Args:
        session: the transaction.
        after: only entries with a greater id.
        before: only the newest entries with a smaller id.
        subject: only entries about this subject, for example `rollout:autumn`.
        limit: the maximum number of entries.
    """
    return store.audit.entries(session, after=after, before=before, subject=subject, limit=limit)
