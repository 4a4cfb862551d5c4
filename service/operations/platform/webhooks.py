"""Webhooks: where events are sent. Writes `webhooks`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.platform import webhooks as rules
from service.domain.platform.webhook_urls import check_url, redacted_url
from service.errors import NotFound, WrongState
from service.infrastructure.jobs import JobNotifier
from service.operations.platform import audit, webhook_deliveries

PREVIOUS_SECRET_VALID_FOR = timedelta(days=1)
"""How long deliveries are also signed with the previous secret after a rotation."""


@dataclass(frozen=True, slots=True)
class WebhookDeclaration:
    """A webhook as a release manager declares it.

    Attributes:
        event_types: the events to send; empty for all.
        active: whether events are sent.
    """

    name: str
    url: str
    event_types: Sequence[str] = ()
    active: bool = True


def put(
    session: Session, declaration: WebhookDeclaration, *, allow_private: bool, actor: str, now: datetime
) -> tuple[store.webhooks.WebhookRow, str | None]:
    """Create or change a webhook; return it with its secret if it is new.

    Raises:
        InvalidWebhook: the URL is not allowed, or an event type is unknown.
    """
    check_url(declaration.url, allow_private=allow_private)
    rules.check_event_types(declaration.event_types)
    row = store.webhooks.webhook(session, declaration.name, lock=True)
    secret = None
    if row is None:
        secret = rules.new_secret()
        row = store.webhooks.WebhookRow(name=declaration.name, secret=secret, created_at=now)
        session.add(row)
    row.url, row.active, row.problem = declaration.url, declaration.active, ""
    row.event_types = list(declaration.event_types)
    session.flush()
    detail = {
        "url": redacted_url(row.url),
        "event_types": row.event_types,
        "active": row.active,
    }
    _record_audit(session, "put", row, actor, now, detail=detail)
    return row, secret


def require(session: Session, name: str, *, lock: bool = False) -> store.webhooks.WebhookRow:
    """The webhook with that name.

    Raises:
        NotFound: there is none.
    """
    row = store.webhooks.webhook(session, name, lock=lock)
    if row is None:
        raise NotFound(f"there is no webhook {name!r}; see `graylag webhook list`", field="webhook")
    return row


def list_all(session: Session) -> Sequence[store.webhooks.WebhookRow]:
    """All webhooks, by name."""
    return store.webhooks.webhooks(session)


def view(row: store.webhooks.WebhookRow, *, full_url: bool) -> dict[str, Any]:
    """A webhook as the API returns it. Its URL is a secret, shown in full only to those who may change it."""
    fields = ("name", "event_types", "active", "problem", "created_at")
    return {name: getattr(row, name) for name in fields} | {
        "url": row.url if full_url else redacted_url(row.url)
    }


def delete(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Delete a webhook with its deliveries.

    Raises:
        NotFound: there is none.
    """
    row = require(session, name)
    session.delete(row)
    session.flush()
    _record_audit(session, "delete", row, actor, now)


def rotate_secret(
    session: Session, name: str, *, actor: str, now: datetime
) -> tuple[store.webhooks.WebhookRow, str]:
    """Create a new secret. The previous one also signs for a day, so that the receiver can change over.

    Raises:
        NotFound: there is no such webhook.
    """
    row = require(session, name, lock=True)
    row.previous_secret, row.previous_until = row.secret, now + PREVIOUS_SECRET_VALID_FOR
    row.secret = secret = rules.new_secret()
    _record_audit(session, "rotate_secret", row, actor, now)
    return row, secret


def send_test(
    session: Session, notifier: JobNotifier, name: str, *, actor: str, now: datetime
) -> store.webhooks.WebhookDeliveryRow:
    """Send a test event to a webhook.

    Raises:
        NotFound: there is no such webhook.
        WrongState: it is inactive.
    """
    row = require(session, name)
    if not row.active:
        raise WrongState(f"{name} is inactive; put it again with active: true", state="inactive")
    data = {"webhook": name, "actor": actor}
    event = rules.event(rules.TEST, data, f"Test by {actor}", now)
    delivery = webhook_deliveries.insert(session, row, event, now=now)
    webhook_deliveries.notify(session, notifier, delivery)
    _record_audit(session, "test", row, actor, now)
    return delivery


def publish(session: Session, event_type: str, data: Mapping[str, Any], text: str, *, now: datetime) -> None:
    """Send an event to all subscribed webhooks, in the transaction of the change that it describes.

    Args:
        session: the transaction of the change.
        event_type: for example `rollout.halt`.
        data: the event for machines.
        text: the event in one line for people.
        now: when it happened.
    """
    event = rules.event(event_type, data, text, now)
    for row in store.webhooks.webhooks(session, active=True):
        if rules.subscribes_to(row.event_types, event_type):
            webhook_deliveries.insert(session, row, event, now=now)


def deactivate(session: Session, webhook_id: int, problem: str) -> None:
    """Deactivate a webhook whose receiver is gone, and store the reason."""
    row = store.webhooks.webhook_by_id(session, webhook_id)
    if row is not None:
        row.active, row.problem = False, problem


def _record_audit(
    session: Session,
    verb: str,
    row: store.webhooks.WebhookRow,
    actor: str,
    now: datetime,
    *,
    detail: dict[str, Any] | None = None,
) -> None:
    subject = f"webhook:{row.name}"
    audit.record(session, actor=actor, verb=f"webhook.{verb}", subject=subject, now=now, detail=detail)
