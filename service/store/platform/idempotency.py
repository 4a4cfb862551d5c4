"""Responses stored under idempotency keys."""

from typing import Any

from sqlalchemy import Index, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table


class IdempotencyKeyRow(Table):
    """The response to a request that may be repeated.

    Attributes:
        body: the response body as JSON; None if it had none.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]


def response(session: Session, key: str, actor: str) -> IdempotencyKeyRow | None:
    """The stored response to a key of an actor."""
    return session.get(IdempotencyKeyRow, (key, actor))
