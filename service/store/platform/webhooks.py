"""Webhooks and their deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table, locked


class WebhookRow(Table):
    """A webhook: a URL that receives events.

    Attributes:
        event_types: the events to send, for example `rollout.halt`; empty for all.
        secret: signs every delivery.
        previous_secret: also signs until `previous_until`.
        problem: why the server has deactivated it; empty if it has not.
    """

    __tablename__ = "webhooks"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    event_types: Mapped[list[Any]]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    problem: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]


class WebhookDeliveryRow(Table):
    """The delivery of one event to one webhook.

    Attributes:
        message_id: identical in all attempts.
        problem: the failure of the last attempt.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "message_id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[Serial]
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str]
    event_type: Mapped[str]
    event: Mapped[dict[str, Any]]
    job_id: Mapped[UUID]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    delivered_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    created_at: Mapped[Created]


def webhook(session: Session, name: str, *, lock: bool = False) -> WebhookRow | None:
    """A webhook by its name."""
    query = select(WebhookRow).where(WebhookRow.name == name)
    return session.scalar(locked(query) if lock else query)


def webhook_by_id(session: Session, webhook_id: int) -> WebhookRow | None:
    """A webhook by its id."""
    return session.get(WebhookRow, webhook_id)


def webhooks(session: Session, *, active: bool = False) -> Sequence[WebhookRow]:
    """Webhooks by name, only active ones if asked."""
    query = select(WebhookRow).order_by(WebhookRow.name)
    return session.scalars(query.where(WebhookRow.active) if active else query).all()


def delivery(session: Session, delivery_id: int, *, lock: bool = False) -> WebhookDeliveryRow | None:
    """A delivery by its id."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.id == delivery_id)
    return session.scalar(locked(query) if lock else query)


def deliveries(session: Session, webhook_id: int, *, limit: int = 100) -> Sequence[WebhookDeliveryRow]:
    """The deliveries of a webhook, newest first."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == webhook_id)
    return session.scalars(query.order_by(WebhookDeliveryRow.id.desc()).limit(limit)).all()
