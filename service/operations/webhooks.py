"""Webhooks: who is told what happens to rollouts. Writes `webhooks` and `webhook_deliveries`.

A message is written down in the transaction of what it tells about, and sent by a job of its own: what
has happened is told at least once, what has not happened never is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from service import store
from service.domain import webhooks as rules
from service.errors import NotFound, WrongState
from service.jobs import DELIVER_WEBHOOK, Bell
from service.operations import audit, jobs

OVERLAP = timedelta(days=1)
"""How long the secret before still signs too, after a new one was made."""
KEPT = timedelta(days=30)
"""How long messages are shown after they were written."""


@dataclass(frozen=True, slots=True)
class WebhookDeclaration:
    """A webhook as a release manager writes it.

    Attributes:
        kinds: what it wants to hear of; empty for everything.
        active: whether it is told anything.
    """

    name: str
    url: str
    kinds: Sequence[str] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent now.

    Attributes:
        keys: secrets to sign with, newest first.
    """

    url: str
    keys: Sequence[str]
    id: str
    body: bytes


def put(
    session: Session, declaration: WebhookDeclaration, *, allow_private: bool, actor: str, now: datetime
) -> tuple[store.webhooks.WebhookRow, str | None]:
    """Make a webhook, or change it; with the secret if it is new.

    Raises:
        InvalidWebhook: an address that must not be called, or a kind that never happens.
    """
    rules.check_url(declaration.url, allow_private=allow_private)
    rules.check_kinds(declaration.kinds)
    row = store.webhooks.webhook(session, declaration.name, lock=True)
    secret = None
    if row is None:
        secret = rules.new_secret()
        row = store.webhooks.WebhookRow(name=declaration.name, secret=secret, created_at=now)
        session.add(row)
    row.url, row.kinds, row.active = declaration.url, list(declaration.kinds), declaration.active
    row.problem = ""
    session.flush()
    _record(session, "put", row, actor, now, url=rules.origin_of(row.url), kinds=row.kinds, active=row.active)
    return row, secret


def require(session: Session, name: str, *, lock: bool = False) -> store.webhooks.WebhookRow:
    """A webhook by its name.

    Raises:
        NotFound: there is none.
    """
    row = store.webhooks.webhook(session, name, lock=lock)
    if row is None:
        raise NotFound(f"there is no webhook {name!r}", field="webhook")
    return row


def list_all(session: Session) -> Sequence[store.webhooks.WebhookRow]:
    """All webhooks, by name."""
    return store.webhooks.webhooks(session)


def view(row: store.webhooks.WebhookRow, *, whole: bool) -> dict[str, Any]:
    """A webhook as people are shown it; its whole address only to those who may change it."""
    fields = ("name", "kinds", "active", "problem", "created_at")
    return {name: getattr(row, name) for name in fields} | {
        "url": row.url if whole else rules.origin_of(row.url)
    }


def remove(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Remove a webhook and all that was still to be told to it.

    Raises:
        NotFound: there is none.
    """
    row = require(session, name)
    session.delete(row)
    session.flush()
    _record(session, "remove", row, actor, now)


def rotate(
    session: Session, name: str, *, actor: str, now: datetime
) -> tuple[store.webhooks.WebhookRow, str]:
    """A new secret; the one before signs too for a day, so that the other side can change over.

    Raises:
        NotFound: there is none.
    """
    row = require(session, name, lock=True)
    row.previous_secret, row.previous_until = row.secret, now + OVERLAP
    row.secret = secret = rules.new_secret()
    _record(session, "rotate", row, actor, now)
    return row, secret


def try_out(
    session: Session, bell: Bell, name: str, *, actor: str, now: datetime
) -> store.webhooks.WebhookDeliveryRow:
    """Send a webhook a message that says nothing has happened.

    Raises:
        NotFound: there is none.
        WrongState: it is switched off.
    """
    row = require(session, name)
    if not row.active:
        raise WrongState(f"{name} is switched off: put it again with active: true", state="inactive")
    event = _event(rules.TEST, {"webhook": name, "actor": actor}, f"A trial from {actor}", now)
    delivery = _write_down(session, row, rules.TEST, event, now)
    jobs.enqueue(session, bell, DELIVER_WEBHOOK, _key(delivery), {"delivery_id": delivery.id})
    _record(session, "test", row, actor, now)
    return delivery


def announce(session: Session, kind: str, data: Mapping[str, Any], text: str, *, now: datetime) -> None:
    """Tell everybody who wants to hear of it, in the transaction of what it tells about.

    Args:
        session: the transaction.
        kind: for example `rollout.halt`.
        data: what happened, for machines.
        text: the same for people, in one line.
        now: when it happened.
    """
    event = _event(kind, data, text, now)
    for row in store.webhooks.webhooks(session, active=True):
        if rules.wants(row.kinds, kind):
            _write_down(session, row, kind, event, now)


def deliveries(session: Session, name: str) -> Sequence[store.webhooks.WebhookDeliveryRow]:
    """The newest 100 messages to a webhook, newest first.

    Raises:
        NotFound: there is no such webhook.
    """
    return store.webhooks.deliveries(session, require(session, name).id)


def send_again(
    session: Session, bell: Bell, name: str, delivery_id: int, *, now: datetime
) -> store.webhooks.WebhookDeliveryRow:
    """Give a message that was given up another day.

    Raises:
        NotFound: no such webhook, or no such message to it.
        WrongState: it has arrived, or is still being tried.
    """
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is None or row.webhook_id != require(session, name).id:
        raise NotFound(f"there is no message {delivery_id} to {name!r}", field="delivery")
    if row.given_up_at is None:
        raise WrongState("only a message that was given up is sent again", state=state_of(row))
    row.given_up_at = None
    jobs.requeue(session, bell, row.job_id, now=now)
    return row


def state_of(row: store.webhooks.WebhookDeliveryRow) -> str:
    """`waiting`, `delivered` or `given_up`."""
    if row.delivered_at is not None:
        return "delivered"
    return "waiting" if row.given_up_at is None else "given_up"


def next_message(session: Session, delivery_id: int, *, now: datetime) -> Message | None:
    """What is to be sent; None when there is nobody to tell any more, or nothing."""
    row = store.webhooks.delivery(session, delivery_id)
    target = store.webhooks.webhook_by_id(session, row.webhook_id) if row else None
    if row is None or target is None or not target.active or row.delivered_at is not None:
        return None
    keys = [target.secret]
    if (
        target.previous_secret is not None
        and target.previous_until is not None
        and now < target.previous_until
    ):
        keys.append(target.previous_secret)
    return Message(target.url, keys, row.message_id, rules.body_of(row.event))


def headers_of(message: Message, *, now: datetime) -> dict[str, str]:
    """The headers of an attempt at this moment, signed."""
    return rules.headers_of(message.keys, message.id, int(now.timestamp()), message.body)


def arrived(session: Session, delivery_id: int, *, now: datetime) -> None:
    """A message was taken."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is not None:
        row.delivered_at, row.attempts, row.problem = now, row.attempts + 1, None


def failed(session: Session, delivery_id: int, problem: dict[str, Any]) -> None:
    """An attempt came to nothing; there may be another."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is not None:
        row.attempts, row.problem = row.attempts + 1, problem


def give_up(
    session: Session, delivery_id: int, problem: dict[str, Any], *, gone: bool, now: datetime
) -> None:
    """No more attempts; a webhook whose other side is gone is switched off."""
    row = store.webhooks.delivery(session, delivery_id, lock=True)
    if row is None or row.delivered_at is not None:
        return
    row.given_up_at, row.problem = now, row.problem or problem
    target = store.webhooks.webhook_by_id(session, row.webhook_id)
    if target is not None and gone:
        target.active, target.problem = False, str(problem.get("detail", ""))


def forget(session: Session, *, now: datetime) -> None:
    """Delete messages that have long come to an end."""
    store.webhooks.forget_deliveries(session, before=now - KEPT)


def _event(kind: str, data: Mapping[str, Any], text: str, now: datetime) -> dict[str, Any]:
    return {"type": kind, "timestamp": now.isoformat(), "text": text, "data": dict(data)}


def _write_down(
    session: Session, target: store.webhooks.WebhookRow, kind: str, event: dict[str, Any], now: datetime
) -> store.webhooks.WebhookDeliveryRow:
    row = store.webhooks.WebhookDeliveryRow(
        webhook_id=target.id,
        message_id=f"msg_{uuid4().hex}",
        kind=kind,
        event=event,
        job_id=uuid4(),
        attempts=0,
        created_at=now,
    )
    session.add(row)
    session.flush()
    row.job_id = jobs.write_down(session, DELIVER_WEBHOOK, _key(row), {"delivery_id": row.id})
    session.flush()
    return row


def _key(row: store.webhooks.WebhookDeliveryRow) -> str:
    return f"{DELIVER_WEBHOOK}:{row.id}"


def _record(
    session: Session, verb: str, row: store.webhooks.WebhookRow, actor: str, now: datetime, **detail: Any
) -> None:
    audit.record(
        session, actor=actor, verb=f"webhook.{verb}", subject=f"webhook:{row.name}", now=now, detail=detail
    )
