"""Answers to requests that may come again. Writes `idempotency_keys`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.errors import KeyReused

KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was given; `body` is None where it had none."""

    status: int
    body: Any


def find(session: Session, key: str, actor: str, request_sha256: str) -> Answer | None:
    """The answer that somebody was given under a key.

    Raises:
        KeyReused: it was to another request.
    """
    row = store.jobs.kept_answer(session, key, actor)
    if row is None:
        return None
    if row.request_sha256 != request_sha256:
        raise KeyReused("the key came with another request before: make a new one", field="Idempotency-Key")
    return Answer(row.status, row.body)


def keep(
    session: Session, key: str, actor: str, request_sha256: str, answer: Answer, *, now: datetime
) -> None:
    """Write an answer down in the transaction of what it tells about: both or neither."""
    session.add(
        store.jobs.IdempotencyKeyRow(
            key=key,
            actor=actor,
            request_sha256=request_sha256,
            status=answer.status,
            body=answer.body,
            created_at=now,
        )
    )
    session.flush()


def forget(session: Session, *, now: datetime) -> None:
    """Delete answers that are older than a day."""
    store.jobs.forget_answers(session, before=now - KEPT)
