"""The audit log."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Serial, Table


class AuditEntryRow(Table):
    """An entry of the audit log; its hash covers the previous hash, so that a missing entry is detected."""

    __tablename__ = "audit_log"

    id: Mapped[Serial]
    at: Mapped[datetime]
    actor: Mapped[str]
    verb: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)


def last_entry(session: Session) -> AuditEntryRow | None:
    """The newest entry."""
    return session.scalar(select(AuditEntryRow).order_by(AuditEntryRow.id.desc()).limit(1))


def entries(
    session: Session,
    *,
    after: int = 0,
    before: int | None = None,
    subject: str | None = None,
    limit: int = 200,
) -> Sequence[AuditEntryRow]:
    """Entries between two ids, in id order.

    The `limit` oldest after `after`; with `before`, the `limit` newest below it.
    """
    query = select(AuditEntryRow).where(AuditEntryRow.id > after).limit(limit)
    if subject is not None:
        query = query.where(AuditEntryRow.subject == subject)
    if before is None:
        return session.scalars(query.order_by(AuditEntryRow.id)).all()
    newest = session.scalars(query.where(AuditEntryRow.id < before).order_by(AuditEntryRow.id.desc())).all()
    return list(reversed(newest))
