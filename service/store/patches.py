"""Patches between blobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table


class PatchRow(Table):
    """One way from a source blob to a target blob."""

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


def patches(
    session: Session, *, targets: Sequence[str] | None = None, limit: int = 200
) -> Sequence[PatchRow]:
    """Patches, newest first, on demand only those to certain blobs."""
    query = select(PatchRow).order_by(PatchRow.id.desc()).limit(limit)
    if targets is not None:
        query = query.where(PatchRow.target_sha256.in_(targets))
    return session.scalars(query).all()
