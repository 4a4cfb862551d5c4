"""Patches between blobs, and requests for patches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table


class PatchRow(Table):
    """A patch from a source blob to a target blob.

    Attributes:
        sha256: the digest of the patch; None before it is built and after its bytes were deleted.
        retired_at: when it was taken out of service.
    """

    __tablename__ = "patches"
    __table_args__ = (
        UniqueConstraint("source_sha256", "target_sha256", "format"),
        CheckConstraint("state in ('queued','ready','not_worth_it','failed','retired')", name="state"),
    )

    id: Mapped[Serial]
    source_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    target_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    format: Mapped[str]
    state: Mapped[str]
    sha256: Mapped[str | None]
    size: Mapped[int | None]
    working_set: Mapped[int | None]
    descriptor: Mapped[bytes | None] = mapped_column(LargeBinary)
    stats: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    finished_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]


class PatchRequestRow(Table):
    """A patch that polls would have used if it existed.

    Attributes:
        request_count: the number of such polls.
        last_requested_at: the time of the last one.
    """

    __tablename__ = "patch_requests"

    source_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    target_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    request_count: Mapped[int] = mapped_column(server_default="0")
    last_requested_at: Mapped[datetime]


def patch(session: Session, patch_id: int, *, lock: bool = False) -> PatchRow | None:
    """A patch by its id."""
    return session.get(PatchRow, patch_id, with_for_update=lock)


def between(session: Session, source: str, target: str, patch_format: str) -> PatchRow | None:
    """The patch from one blob to another in a format."""
    return session.scalar(
        select(PatchRow).where(
            PatchRow.source_sha256 == source,
            PatchRow.target_sha256 == target,
            PatchRow.format == patch_format,
        )
    )


def queued_or_ready(session: Session) -> Sequence[PatchRow]:
    """The patches that are ready or queued."""
    return session.scalars(select(PatchRow).where(PatchRow.state.in_(("queued", "ready")))).all()


def unavailable_pairs(session: Session) -> frozenset[tuple[str, str]]:
    """The (source, target) pairs that will get no patch."""
    query = select(PatchRow.source_sha256, PatchRow.target_sha256)
    rows = session.execute(query.where(PatchRow.state.in_(("not_worth_it", "failed"))))
    return frozenset((row.source_sha256, row.target_sha256) for row in rows)


def ready_before(session: Session, moment: datetime) -> Sequence[PatchRow]:
    """The patches that have been ready since before a time."""
    query = select(PatchRow).where(PatchRow.state == "ready", PatchRow.finished_at < moment)
    return session.scalars(query.order_by(PatchRow.id)).all()


def retired_before(session: Session, moment: datetime, *, limit: int = 100) -> Sequence[PatchRow]:
    """The patches retired before a time whose bytes still exist; locked, skipping rows that are locked already."""
    query = (
        select(PatchRow)
        .where(PatchRow.state == "retired", PatchRow.sha256.is_not(None), PatchRow.retired_at < moment)
        .order_by(PatchRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()


def requests(session: Session, *, since: datetime, limit: int = 1000) -> Sequence[PatchRequestRow]:
    """The patches requested since a time, the most requested first."""
    query = select(PatchRequestRow).where(PatchRequestRow.last_requested_at >= since)
    return session.scalars(query.order_by(PatchRequestRow.request_count.desc()).limit(limit)).all()


def patches(
    session: Session, *, targets: Sequence[str] | None = None, limit: int = 200
) -> Sequence[PatchRow]:
    """Patches, newest first; only those to `targets` if given."""
    query = select(PatchRow).order_by(PatchRow.id.desc()).limit(limit)
    if targets is not None:
        query = query.where(PatchRow.target_sha256.in_(targets))
    return session.scalars(query).all()
