"""Who is told what happens to rollouts, and each message until it has arrived."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint, delete, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table, locked
from service.store.jobs import JobRow


class WebhookRow(Table):
    """Where to tell what happens to rollouts.

    Attributes:
        kinds: what it wants to hear of, for example `rollout.halt`; empty for everything.
        secret: signs every message.
        previous_secret: the one before, which signs too until `previous_until`.
        problem: why we stopped telling it, if we did so ourselves.
    """

    __tablename__ = "webhooks"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    kinds: Mapped[list[Any]]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    problem: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]


class WebhookDeliveryRow(Table):
    """One message to one webhook.

    Attributes:
        message_id: the same however often it is sent.
        problem: what came of the last attempt, if it failed.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "message_id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[Serial]
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str]
    kind: Mapped[str]
    event: Mapped[dict[str, Any]]
    job_id: Mapped[UUID]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    created_at: Mapped[Created]


def webhook(session: Session, name: str, *, lock: bool = False) -> WebhookRow | None:
    """A webhook by its name."""
    query = select(WebhookRow).where(WebhookRow.name == name)
    return session.scalar(locked(query) if lock else query)


def webhook_by_id(session: Session, webhook_id: int) -> WebhookRow | None:
    """A webhook by its number."""
    return session.get(WebhookRow, webhook_id)


def webhooks(session: Session, *, active: bool = False) -> Sequence[WebhookRow]:
    """All webhooks, or those that are told something, by name."""
    query = select(WebhookRow).order_by(WebhookRow.name)
    return session.scalars(query.where(WebhookRow.active) if active else query).all()


def delivery(session: Session, delivery_id: int, *, lock: bool = False) -> WebhookDeliveryRow | None:
    """A message by its number."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.id == delivery_id)
    return session.scalar(locked(query) if lock else query)


def deliveries(session: Session, webhook_id: int, *, limit: int = 100) -> Sequence[WebhookDeliveryRow]:
    """The newest messages to a webhook, newest first."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == webhook_id)
    return session.scalars(query.order_by(WebhookDeliveryRow.id.desc()).limit(limit)).all()


def forget_deliveries(session: Session, *, before: datetime) -> None:
    """Delete messages that have come to an end before a moment, with their jobs."""
    over = WebhookDeliveryRow.delivered_at.is_not(None) | WebhookDeliveryRow.given_up_at.is_not(None)
    gone = (
        delete(WebhookDeliveryRow)
        .where(WebhookDeliveryRow.created_at < before, over)
        .returning(WebhookDeliveryRow.job_id)
    )
    jobs = session.scalars(gone).all()
    session.execute(delete(JobRow).where(JobRow.id.in_(jobs)))
