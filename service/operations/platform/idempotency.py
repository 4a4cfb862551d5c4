"""Responses stored under idempotency keys, so that a repeated request gets the same response. Writes `idempotency_keys`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from service import store
from service.errors import KeyReused

RETENTION = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response; `body` is None if it had none."""

    status: int
    body: Any


def find(session: Session, key: str, actor: str, request_sha256: str) -> StoredResponse | None:
    """The response stored under a key of an actor, None if there is none.

    Raises:
        KeyReused: the key was used with another request.
    """
    row = store.idempotency.response(session, key, actor)
    if row is None:
        return None
    if row.request_sha256 != request_sha256:
        raise KeyReused(
            "this key was used with another request; generate a new key for each request",
            field="Idempotency-Key",
        )
    return StoredResponse(row.status, row.body)


def store_response(
    session: Session, key: str, actor: str, request_sha256: str, response: StoredResponse, *, now: datetime
) -> None:
    """Store a response in the transaction of the request, so that neither exists without the other."""
    session.add(
        store.idempotency.IdempotencyKeyRow(
            key=key,
            actor=actor,
            request_sha256=request_sha256,
            status=response.status,
            body=response.body,
            created_at=now,
        )
    )
    session.flush()


def delete_expired(session: Session, *, now: datetime) -> None:
    """Delete the responses that are older than a day."""
    table = store.idempotency.IdempotencyKeyRow
    session.execute(delete(table).where(table.created_at < now - RETENTION))
