"""Deliveries of events to webhooks. Writes `webhook_deliveries`.

A delivery is inserted in the transaction of the change that it describes, and sent by a job of its own. Every event is
therefore delivered at least once, and no event of a rolled-back transaction ever is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import delete
from sqlalchemy.orm import Session

from service import store
from service.domain.platform import webhooks as rules
from service.errors import NotFound, WrongState
from service.infrastructure.jobs import DELIVER_WEBHOOK, JobNotifier
from service.operations.platform import jobs

RETENTION = timedelta(days=30)
"""How long finished deliveries are kept."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message that is ready to be sent.

    Attributes:
        secrets: the secrets to sign with, newest first.
    """

    url: str
    secrets: Sequence[str]
    id: str
    body: bytes


def insert(
    session: Session, target: store.webhooks.WebhookRow, event: dict[str, Any], *, now: datetime
) -> store.webhooks.WebhookDeliveryRow:
    """Insert a delivery and its job; the next sweep notifies a worker."""
    row = store.webhooks.WebhookDeliveryRow(
        webhook_id=target.id,
        message_id=f"msg_{uuid4().hex}",
        event_type=event["type"],
        event=event,
        job_id=uuid4(),
        attempts=0,
        created_at=now,
    )
    session.add(row)
    session.flush()
    row.job_id = jobs.insert_job(session, DELIVER_WEBHOOK, _job_key(row), {"delivery_id": row.id})
    session.flush()
    return row


def notify(session: Session, notifier: JobNotifier, row: store.webhooks.WebhookDeliveryRow) -> None:
    """Notify a worker of a new delivery without waiting for the sweep."""
    jobs.enqueue(session, notifier, DELIVER_WEBHOOK, _job_key(row), {"delivery_id": row.id})


def list_newest(
    session: Session, webhook: store.webhooks.WebhookRow
) -> Sequence[store.webhooks.WebhookDeliveryRow]:
    """The newest 100 deliveries of a webhook, newest first."""
    return store.webhooks.deliveries(session, webhook.id)


def redeliver(
    session: Session,
    notifier: JobNotifier,
    webhook: store.webhooks.WebhookRow,
    delivery_id: int,
    *,
    now: datetime,
) -> store.webhooks.WebhookDeliveryRow:
    """Try a failed delivery again for another day.

    Raises:
        NotFound: the webhook has no such delivery.
        WrongState: the delivery has not failed.
    """
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is None or row.webhook_id != webhook.id:
        raise NotFound(f"{webhook.name!r} has no delivery {delivery_id}", field="delivery")
    if row.failed_at is None:
        raise WrongState(
            f"this delivery is {delivery_state(row)}; only failed ones can be repeated",
            state=delivery_state(row),
        )
    row.failed_at = None
    jobs.requeue(session, notifier, row.job_id, now=now)
    return row


def delivery_state(row: store.webhooks.WebhookDeliveryRow) -> str:
    """`pending`, `delivered` or `failed`."""
    if row.delivered_at is not None:
        return "delivered"
    return "pending" if row.failed_at is None else "failed"


def next_message(session: Session, delivery_id: int, *, now: datetime) -> OutgoingMessage | None:
    """The message to send; None if it was delivered, or its webhook was deleted or is inactive."""
    row = store.webhooks.delivery(session, delivery_id)
    target = store.webhooks.webhook_by_id(session, row.webhook_id) if row else None
    if row is None or target is None or not target.active or row.delivered_at is not None:
        return None
    secrets = [target.secret]
    previous, until = target.previous_secret, target.previous_until
    if previous is not None and until is not None and now < until:
        secrets.append(previous)
    return OutgoingMessage(target.url, secrets, row.message_id, rules.encode_event(row.event))


def signed_headers(message: OutgoingMessage, *, now: datetime) -> dict[str, str]:
    """The headers of a request that sends the message now."""
    return rules.signed_headers(message.secrets, message.id, int(now.timestamp()), message.body)


def mark_delivered(session: Session, delivery_id: int, *, now: datetime) -> None:
    """Record that the receiver has accepted the message."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is not None:
        row.delivered_at, row.attempts, row.problem = now, row.attempts + 1, None


def record_failed_attempt(session: Session, delivery_id: int, problem: dict[str, Any]) -> None:
    """Record a failed attempt; there may be another."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is not None:
        row.attempts, row.problem = row.attempts + 1, problem


def mark_failed(session: Session, delivery_id: int, problem: dict[str, Any], *, now: datetime) -> int | None:
    """Record that there are no more attempts; return the id of the webhook, None if nothing is left to do."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is None or row.delivered_at is not None:
        return None
    row.failed_at, row.problem = now, row.problem or problem
    return row.webhook_id


def delete_old(session: Session, *, now: datetime) -> None:
    """Delete finished deliveries and their jobs after the retention time."""
    table = store.webhooks.WebhookDeliveryRow
    finished = table.delivered_at.is_not(None) | table.failed_at.is_not(None)
    old = delete(table).where(table.created_at < now - RETENTION, finished).returning(table.job_id)
    jobs.delete_jobs(session, session.scalars(old).all())


def _job_key(row: store.webhooks.WebhookDeliveryRow) -> str:
    return f"{DELIVER_WEBHOOK}:{row.id}"
