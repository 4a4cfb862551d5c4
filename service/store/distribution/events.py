"""The events that devices report."""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Date,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Created, Table


class EventRow(Table):
    """An event as the device sent it.

    Partitioned by the day in the event id, so that a repeated event falls into the same partition.
    """

    __tablename__ = "events"
    __table_args__ = {"postgresql_partition_by": "RANGE (day)"}  # noqa: RUF012 - SQLAlchemy declares it so

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[str]
    attempt_id: Mapped[str | None] = mapped_column(index=True)
    state: Mapped[str]
    code: Mapped[str | None]
    body: Mapped[dict[str, Any]]
    received_at: Mapped[Created]
