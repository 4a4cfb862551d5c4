"""Bytes on their way in: announced, uploaded in parts, re-hashed, in place. Writes `blobs` and `uploads`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.blobs import BlobStore, Part, blob_key
from service.errors import Invalid, NotFound, UploadIncomplete

MAX_PARTS = 10_000
"""S3's bound on the parts of one upload."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A blob that has not been looked at.

    Attributes:
        component: the first component that it is for.
        size: as declared, bytes.
        key: where it was uploaded to; None if it is not here any more.
    """

    component: str
    size: int
    key: str | None


def announce(session: Session, sha256: str, size: int) -> None:
    """A version declares such a blob; nothing happens if it is known.

    Raises:
        Invalid: the same digest was declared with another length before.
    """
    table = store.versions.BlobRow
    session.execute(insert(table).values(sha256=sha256, size=size).on_conflict_do_nothing())
    known = store.versions.blob(session, sha256)
    if known is None or known.size == size:
        return
    if known.stored:
        raise Invalid(f"the blob {sha256} has {known.size} bytes, not {size}", field="size")
    known.size = size


def start(
    session: Session, blobs: BlobStore, sha256: str, *, part_bytes: int
) -> tuple[store.versions.UploadRow | None, list[Part]]:
    """Begin, or go on with, bringing a declared blob.

    Returns:
        The upload and the parts that have arrived; no upload when the bytes are here already.

    Raises:
        NotFound: no version declares such a blob.
    """
    blob = store.versions.blob(session, sha256, lock=True)
    if blob is None:
        raise NotFound("declare the version before uploading its files", field="sha256")
    if blob.stored:
        return None, []
    upload = store.versions.upload_of(session, sha256)
    if upload is None:
        upload = _open_upload(session, blobs, blob, part_bytes)
    arrived = [] if upload.completed else _arrived(blobs, upload)
    return (None, []) if upload.completed else (upload, arrived)


def _arrived(blobs: BlobStore, upload: store.versions.UploadRow) -> list[Part]:
    """The parts that are there; notes the upload as complete where only our commit of that was lost."""
    parts = blobs.parts(upload.key, upload.s3_upload_id)
    if not parts and blobs.size(upload.key) is not None:
        upload.completed = True
    return parts


def _open_upload(
    session: Session, blobs: BlobStore, blob: store.versions.BlobRow, part_bytes: int
) -> store.versions.UploadRow:
    upload_id = uuid4()
    key = f"uploads/{upload_id}"
    upload = store.versions.UploadRow(
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
    """How many parts a blob of `size` bytes has."""
    return max(1, math.ceil(size / part_bytes))


def part_urls(
    session: Session, blobs: BlobStore, upload_id: UUID, numbers: Sequence[int], *, expires_s: int
) -> dict[int, str]:
    """Where to PUT parts of an upload.

    Raises:
        NotFound: no such upload.
        Invalid: a part number outside the upload.
    """
    upload = _require_upload(session, upload_id)
    count = part_count(_blob_of(session, upload).size, upload.part_bytes)
    for number in numbers:
        if not 1 <= number <= count:
            raise Invalid(f"part {number} of {count}", field="numbers")
    return {
        number: blobs.upload_url(upload.key, upload.s3_upload_id, number, expires_s=expires_s)
        for number in numbers
    }


def finish(session: Session, blobs: BlobStore, upload_id: UUID) -> None:
    """Join the parts; the bytes are not believed before a worker has hashed them.

    Raises:
        NotFound: no such upload.
        UploadIncomplete: parts are missing or of the wrong length; the message says which.
    """
    upload = _require_upload(session, upload_id, lock=True)
    parts = [] if upload.completed else _arrived(blobs, upload)
    if upload.completed:
        return
    size = _blob_of(session, upload).size
    expected = expected_parts(size, upload.part_bytes)
    wrong = [
        number for number in expected if {p.number: p.size for p in parts}.get(number) != expected[number]
    ]
    if wrong:
        raise UploadIncomplete(
            f"parts {wrong[:10]} are missing or of the wrong length", field="parts", parts=wrong[:100]
        )
    blobs.finish_upload(upload.key, upload.s3_upload_id, [part for part in parts if part.number in expected])
    upload.completed = True


def expected_parts(size: int, part_bytes: int) -> dict[int, int]:
    """Part number -> its length in bytes."""
    count = part_count(size, part_bytes)
    return {n: part_bytes if n < count else size - part_bytes * (count - 1) for n in range(1, count + 1)}


def _require_upload(session: Session, upload_id: UUID, *, lock: bool = False) -> store.versions.UploadRow:
    upload = store.versions.upload(session, upload_id, lock=lock)
    if upload is None:
        raise NotFound("no such upload; it may be done already", field="upload_id")
    return upload


def _blob_of(session: Session, upload: store.versions.UploadRow) -> store.versions.BlobRow:
    blob = store.versions.blob(session, upload.sha256)
    if blob is None:
        raise NotFound("the upload's blob is gone", field="upload_id")
    return blob


def record(
    session: Session, blobs: BlobStore, sha256: str, *, file_format: str, contents: dict[str, Any]
) -> None:
    """A worker has hashed a blob and copied it to its place."""
    blob = store.versions.blob(session, sha256, lock=True)
    if blob is None or blobs.size(blob_key(sha256)) != blob.size:
        raise NotFound(f"blob {sha256} is not in its place")
    blob.stored, blob.format, blob.contents = True, file_format, contents
    upload = store.versions.upload_of(session, sha256)
    if upload is not None:
        session.delete(upload)


def drop(session: Session, blobs: BlobStore, sha256: str, key: str) -> None:
    """Forget the bytes at `key`, which are not what was declared; if others have been brought since, they stay."""
    upload = store.versions.upload_of(session, sha256)
    blobs.delete(key)
    if upload is not None and upload.key == key:
        session.delete(upload)


def is_stored(session: Session, sha256: str) -> bool:
    """Whether a worker has put these bytes in their place, perhaps for another version."""
    blob = store.versions.blob(session, sha256)
    return blob is not None and blob.stored


def expire(session: Session, blobs: BlobStore, *, before: datetime) -> int:
    """Let uploads go that nobody came back for; return how many."""
    stale = store.versions.stale_uploads(session, before)
    for upload in stale:
        blobs.abort_upload(upload.key, upload.s3_upload_id)
        blobs.delete(upload.key)
        session.delete(upload)
    return len(stale)


def pending(session: Session, version: store.versions.VersionRow) -> dict[str, Pending]:
    """Blobs of a version that a worker has yet to look at, by digest."""
    found: dict[str, Pending] = {}
    for component in (component for variant in version.variants for component in variant.components):
        if not component.blob.stored:
            upload = store.versions.upload_of(session, component.blob_sha256)
            key = upload.key if upload is not None and upload.completed else None
            found[component.blob_sha256] = Pending(component.name, component.blob.size, key)
    return found


def size_of(session: Session, upload: store.versions.UploadRow) -> int:
    """Declared length of an upload in bytes."""
    return _blob_of(session, upload).size
