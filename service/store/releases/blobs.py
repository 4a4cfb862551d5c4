"""Blobs and the multipart uploads that bring them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table


class BlobRow(Table):
    """A file by its digest.

    Attributes:
        stored: whether a worker has verified the digest and moved the bytes into place.
    """

    __tablename__ = "blobs"
    __table_args__ = (CheckConstraint("size > 0", name="not_empty"),)

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    stored: Mapped[bool] = mapped_column(server_default=text("false"))
    format: Mapped[str] = mapped_column(server_default="opaque")
    contents: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[Created]


class UploadRow(Table):
    """A multipart upload in progress."""

    __tablename__ = "uploads"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), unique=True)
    key: Mapped[str]
    s3_upload_id: Mapped[str]
    part_bytes: Mapped[int]
    completed: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


def blob(session: Session, sha256: str, *, lock: bool = False) -> BlobRow | None:
    """The blob of that digest."""
    return session.get(BlobRow, sha256, with_for_update=lock)


def upload(session: Session, upload_id: UUID, *, lock: bool = False) -> UploadRow | None:
    """An upload by its id."""
    return session.get(UploadRow, upload_id, with_for_update=lock)


def upload_of(session: Session, sha256: str) -> UploadRow | None:
    """The upload of a blob."""
    return session.scalar(select(UploadRow).where(UploadRow.sha256 == sha256))


def stale_uploads(session: Session, before: datetime) -> Sequence[UploadRow]:
    """The uploads that started before a time."""
    return session.scalars(select(UploadRow).where(UploadRow.created_at < before)).all()


def is_uploaded(session: Session, row: BlobRow) -> bool:
    """Whether all bytes of a blob have been uploaded, verified or not."""
    upload = None if row.stored else upload_of(session, row.sha256)
    return row.stored or (upload is not None and upload.completed)
