"""Patches between blobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint, delete, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table


class PatchRow(Table):
    """One way from a source blob to a target blob.

    Attributes:
        retired_at: since when it is not served any more; `sha256` is cleared once its bytes are gone.
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


class PatchWishRow(Table):
    """A patch that a poll would have used, had there been one.

    Attributes:
        asked: how often.
        asked_at: last.
    """

    __tablename__ = "patch_wishes"

    source_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    target_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    asked: Mapped[int] = mapped_column(server_default="0")
    asked_at: Mapped[datetime]


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


def useful(session: Session) -> Sequence[PatchRow]:
    """Patches that are ready or in the making."""
    return session.scalars(select(PatchRow).where(PatchRow.state.in_(("queued", "ready")))).all()


def hopeless(session: Session) -> frozenset[tuple[str, str]]:
    """Pairs of which there will be no patch: (source, target)."""
    query = select(PatchRow.source_sha256, PatchRow.target_sha256)
    rows = session.execute(query.where(PatchRow.state.in_(("not_worth_it", "failed"))))
    return frozenset((row.source_sha256, row.target_sha256) for row in rows)


def ready_before(session: Session, moment: datetime) -> Sequence[PatchRow]:
    """Patches that have been served since before a moment."""
    query = select(PatchRow).where(PatchRow.state == "ready", PatchRow.finished_at < moment)
    return session.scalars(query.order_by(PatchRow.id)).all()


def retired_before(session: Session, moment: datetime, *, limit: int = 100) -> Sequence[PatchRow]:
    """Patches that have been retired since before a moment and whose bytes are still there; locked, skipping held ones."""
    query = (
        select(PatchRow)
        .where(PatchRow.state == "retired", PatchRow.sha256.is_not(None), PatchRow.retired_at < moment)
        .order_by(PatchRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()


def wishes(session: Session, *, since: datetime, limit: int = 1000) -> Sequence[PatchWishRow]:
    """What polls have asked for since a moment, the most wanted first."""
    query = select(PatchWishRow).where(PatchWishRow.asked_at >= since)
    return session.scalars(query.order_by(PatchWishRow.asked.desc()).limit(limit)).all()


def forget_wishes(session: Session, *, before: datetime) -> None:
    """Delete wishes that nobody has had since a moment."""
    session.execute(delete(PatchWishRow).where(PatchWishRow.asked_at < before))


def patches(
    session: Session, *, targets: Sequence[str] | None = None, limit: int = 200
) -> Sequence[PatchRow]:
    """Patches, newest first, on demand only those to certain blobs."""
    query = select(PatchRow).order_by(PatchRow.id.desc()).limit(limit)
    if targets is not None:
        query = query.where(PatchRow.target_sha256.in_(targets))
    return session.scalars(query).all()
