"""Uploads of files: registered, uploaded in parts, verified, stored. Writes `blobs` and `uploads`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.errors import Invalid, NotFound, UploadIncomplete
from service.infrastructure.blobs import BlobStore, UploadedPart, blob_key

MAX_PARTS = 10_000
"""The limit of S3 on the parts of one upload."""


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """The state of an upload.

    Attributes:
        stored: whether all bytes are uploaded; then the other fields have their defaults.
        upload_id: id of the upload.
        size: size of the file in bytes.
        part_bytes: size in bytes of every part but the last.
        part_count: number of parts.
        missing_parts: numbers of the parts that are not uploaded, from 1.
    """

    stored: bool
    upload_id: UUID | None = None
    size: int = 0
    part_bytes: int = 0
    part_count: int = 0
    missing_parts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class PendingBlob:
    """A blob that a worker has not verified yet.

    Attributes:
        component: the first component that uses it.
        size: the declared size in bytes.
        key: the object key of the completed upload; None if there is none.
    """

    component: str
    size: int
    key: str | None


def register_blob(session: Session, sha256: str, size: int) -> None:
    """Register the blob of a declared component, unless it is known.

    Raises:
        Invalid: a stored blob with that digest has another size.
    """
    table = store.blobs.BlobRow
    session.execute(insert(table).values(sha256=sha256, size=size).on_conflict_do_nothing())
    known = store.blobs.blob(session, sha256)
    if known is None or known.size == size:
        return
    if known.stored:
        raise Invalid(
            f"the stored file {sha256} has {known.size} bytes, not {size}; declare its size", field="size"
        )
    known.size = size


def start(session: Session, blobs: BlobStore, sha256: str, *, part_bytes: int) -> UploadStatus:
    """Start or continue the upload of a registered blob.

    Raises:
        NotFound: no version declares such a blob.
    """
    blob = store.blobs.blob(session, sha256, lock=True)
    if blob is None:
        raise NotFound("declare the version before uploading its files", field="sha256")
    if blob.stored:
        return UploadStatus(stored=True)
    upload = store.blobs.upload_of(session, sha256)
    if upload is None:
        upload = _open_upload(session, blobs, blob, part_bytes)
    uploaded = [] if upload.completed else _uploaded_parts(blobs, upload)
    return UploadStatus(stored=True) if upload.completed else _status(upload, blob.size, uploaded)


def _status(upload: store.blobs.UploadRow, size: int, uploaded: Sequence[UploadedPart]) -> UploadStatus:
    return UploadStatus(
        stored=False,
        upload_id=upload.id,
        size=size,
        part_bytes=upload.part_bytes,
        part_count=part_count(size, upload.part_bytes),
        missing_parts=missing_parts(size, upload.part_bytes, uploaded),
    )


def _uploaded_parts(blobs: BlobStore, upload: store.blobs.UploadRow) -> list[UploadedPart]:
    """The uploaded parts; marks the upload completed if S3 has completed it, but the commit was lost."""
    parts = blobs.parts(upload.key, upload.s3_upload_id)
    if not parts and blobs.size(upload.key) is not None:
        upload.completed = True
    return parts


def _open_upload(
    session: Session, blobs: BlobStore, blob: store.blobs.BlobRow, part_bytes: int
) -> store.blobs.UploadRow:
    upload_id = uuid4()
    key = f"uploads/{upload_id}"
    upload = store.blobs.UploadRow(
        id=upload_id,
        sha256=blob.sha256,
        key=key,
        s3_upload_id=blobs.start_upload(key),
        part_bytes=max(part_bytes, math.ceil(blob.size / MAX_PARTS)),
    )
    session.add(upload)
    session.flush()
    return upload


def part_count(size: int, part_bytes: int) -> int:
    """The number of parts of a blob of `size` bytes."""
    return max(1, math.ceil(size / part_bytes))


def presign_parts(
    session: Session, blobs: BlobStore, upload_id: UUID, numbers: Sequence[int], *, expires_s: int
) -> dict[int, str]:
    """Return part number -> presigned URL for a PUT request.

    Raises:
        NotFound: there is no such upload.
        Invalid: a part number is out of range.
    """
    upload = _require_upload(session, upload_id)
    count = part_count(_blob_of(session, upload).size, upload.part_bytes)
    for number in numbers:
        if not 1 <= number <= count:
            raise Invalid(f"there is no part {number}; the upload has {count} parts", field="numbers")
    return {
        number: blobs.upload_url(upload.key, upload.s3_upload_id, number, expires_s=expires_s)
        for number in numbers
    }


def complete(session: Session, blobs: BlobStore, upload_id: UUID) -> None:
    """Complete an upload from its parts; a worker verifies the digest later.

    Raises:
        NotFound: there is no such upload.
        UploadIncomplete: parts are missing or have the wrong size; the message says which.
    """
    upload = _require_upload(session, upload_id, lock=True)
    parts = [] if upload.completed else _uploaded_parts(blobs, upload)
    if upload.completed:
        return
    size = _blob_of(session, upload).size
    missing = missing_parts(size, upload.part_bytes, parts)
    if missing:
        raise UploadIncomplete(
            f"parts {missing[:10]} are missing or have the wrong size; upload them again",
            field="parts",
            parts=missing[:100],
        )
    count = part_count(size, upload.part_bytes)
    blobs.finish_upload(upload.key, upload.s3_upload_id, [part for part in parts if part.number <= count])
    upload.completed = True


def part_sizes(size: int, part_bytes: int) -> dict[int, int]:
    """Return part number -> its size in bytes."""
    count = part_count(size, part_bytes)
    return {n: part_bytes if n < count else size - part_bytes * (count - 1) for n in range(1, count + 1)}


def missing_parts(size: int, part_bytes: int, uploaded: Sequence[UploadedPart]) -> list[int]:
    """Return the numbers of the parts that are not uploaded, or have the wrong size."""
    uploaded_sizes = {part.number: part.size for part in uploaded}
    expected = part_sizes(size, part_bytes)
    return [number for number in expected if uploaded_sizes.get(number) != expected[number]]


def _require_upload(session: Session, upload_id: UUID, *, lock: bool = False) -> store.blobs.UploadRow:
    upload = store.blobs.upload(session, upload_id, lock=lock)
    if upload is None:
        raise NotFound("there is no such upload; it may be finished already", field="upload_id")
    return upload


def _blob_of(session: Session, upload: store.blobs.UploadRow) -> store.blobs.BlobRow:
    blob = store.blobs.blob(session, upload.sha256)
    if blob is None:
        raise NotFound("the blob of this upload no longer exists; start the upload again", field="upload_id")
    return blob


def mark_stored(
    session: Session, blobs: BlobStore, sha256: str, *, file_format: str, contents: dict[str, Any]
) -> None:
    """Record that a worker has verified a blob and copied it to its final key.

    Raises:
        NotFound: the blob is not at its final key.
    """
    blob = store.blobs.blob(session, sha256, lock=True)
    if blob is None or blobs.size(blob_key(sha256)) != blob.size:
        raise NotFound(f"blob {sha256} is not at its final key")
    blob.stored, blob.format, blob.contents = True, file_format, contents
    upload = store.blobs.upload_of(session, sha256)
    if upload is not None:
        session.delete(upload)


def discard(session: Session, blobs: BlobStore, sha256: str, key: str) -> None:
    """Delete an upload with the wrong content, unless another upload of the blob has replaced it."""
    upload = store.blobs.upload_of(session, sha256)
    blobs.delete(key)
    if upload is not None and upload.key == key:
        session.delete(upload)


def is_stored(session: Session, sha256: str) -> bool:
    """Whether a blob is verified and stored, possibly for another version."""
    blob = store.blobs.blob(session, sha256)
    return blob is not None and blob.stored


def abort_stale(session: Session, blobs: BlobStore, *, before: datetime) -> int:
    """Abort the uploads that started before a time; return how many."""
    stale = store.blobs.stale_uploads(session, before)
    for upload in stale:
        blobs.abort_upload(upload.key, upload.s3_upload_id)
        blobs.delete(upload.key)
        session.delete(upload)
    return len(stale)


def pending_blobs(session: Session, version: store.versions.VersionRow) -> dict[str, PendingBlob]:
    """Return digest -> blob for the blobs of a version that are not verified yet."""
    found: dict[str, PendingBlob] = {}
    for component in (component for variant in version.variants for component in variant.components):
        if not component.blob.stored:
            upload = store.blobs.upload_of(session, component.blob_sha256)
            key = upload.key if upload is not None and upload.completed else None
            found[component.blob_sha256] = PendingBlob(component.name, component.blob.size, key)
    return found
