"""Look at what was uploaded: is it what was declared, and what is inside?

Bytes go from the staging area to their place only after they have been hashed, and a file that
breaks the rules of its own format rejects the version.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from service import database
from service.blobs import BlobReader, BlobStore, StoreError, blob_key
from service.errors import NotFound
from service.observability import log
from service.operations import uploads, versions
from service.operations.uploads import Pending
from service.tokens import utc_now
from workers.context import Job, Rejected, WorkerContext
from workers.delta.layouts import Layout, MalformedFile, read_layout

MAX_LISTED_TENSORS = 200


def run(job: Job) -> None:
    """Check every new file of a version; then ask for the publisher's signature.

    Raises:
        Rejected: the bytes are not those declared, or a file is malformed.
    """
    context, version_id = job.context, job.args["version_id"]
    with database.read_only(context.engine) as session:
        version = versions.require_by_id(session, version_id)
        pending = uploads.pending(session, version)
    total = sum(blob.size for blob in pending.values())
    done = 0
    for sha256, blob in pending.items():
        try:
            _take_in(job, sha256, blob, done, total)
        except (NotFound, Rejected):
            # Another version with the same file may have been ingested meanwhile, and its upload moved.
            if not _is_stored(context, sha256):
                raise
        done += blob.size
    with job.closing() as session:
        versions.ask_for_signature(session, context.bell, version_id)


def bury(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """The version is rejected and says why; its label may be used again."""
    versions.reject(session, args["version_id"], problem=problem, now=utc_now())


def _is_stored(context: WorkerContext, sha256: str) -> bool:
    with database.read_only(context.engine) as session:
        return uploads.is_stored(session, sha256)


def _take_in(job: Job, sha256: str, blob: Pending, done: int, total: int) -> None:
    if blob.key is None:
        raise Rejected("upload_incomplete", f"{blob.component} has to be uploaded again", blob.component)
    blobs = job.context.blobs
    try:
        for _ in _checked(sha256, blob, _watched(job, _bytes_of(blobs, blob), (done, total))):
            pass
        layout = _inspect(BlobReader(blobs, blob.key, blob.size), blob.component)
        _put_in_place(blobs, sha256, blob)
    except Rejected:
        with database.transaction(job.context.engine) as session:
            uploads.drop(session, blobs, sha256, blob.key)
        raise
    with database.transaction(job.context.engine) as session:
        uploads.record(session, blobs, sha256, file_format=layout.format, contents=_contents(layout))
    blobs.delete(blob.key)


def _bytes_of(blobs: BlobStore, blob: Pending) -> Iterator[bytes]:
    try:
        yield from blobs.stream(blob.key or "")
    except NotFound as error:
        raise Rejected("upload_incomplete", f"{blob.component}: {error.detail}", blob.component) from error


def _watched(job: Job, chunks: Iterator[bytes], progress: tuple[int, int]) -> Iterator[bytes]:
    done, total = progress
    for chunk in chunks:
        done += len(chunk)
        job.report(done, total)
        yield chunk


def _checked(sha256: str, blob: Pending, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks; whoever has taken the last one knows that they are what was declared."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != blob.size:
        raise Rejected("size_mismatch", f"{size} bytes arrived, {blob.size} were declared", blob.component)
    if digest.hexdigest() != sha256:
        raise Rejected(
            "digest_mismatch",
            f"the bytes hash to {digest.hexdigest()}, {sha256} was declared",
            blob.component,
        )


def _put_in_place(blobs: BlobStore, sha256: str, blob: Pending) -> None:
    """Copy inside the store; where it cannot, carry the bytes.

    SeaweedFS 4.48 can lose a part of an upload whose sender was cut off and came back: it still reads the object
    from its cache, and refuses to copy it for good.

    Raises:
        Rejected: the store answers, and has lost bytes.
    """
    try:
        blobs.copy(blob.key or "", blob_key(sha256))
    except StoreError:
        if blobs.size(blob.key or "") is None:
            raise
        log("ingest").warning("blob.carried", component=blob.component, sha256=sha256)
        _carry(blobs, sha256, blob)


def _carry(blobs: BlobStore, sha256: str, blob: Pending) -> None:
    # The digest is checked before the last piece is handed over: what does not fit is never put there.
    try:
        blobs.put_chunks(blob_key(sha256), _checked(sha256, blob, _bytes_of(blobs, blob)))
    except (StoreError, Rejected) as error:
        raise Rejected(
            "upload_incomplete",
            f"the object store lost a part of {blob.component}; it has to be uploaded again",
            blob.component,
        ) from error


def _inspect(reader: BlobReader, component: str) -> Layout:
    try:
        return read_layout(reader)
    except MalformedFile as error:
        raise Rejected(
            "malformed_file", f"{error.format}: {error.code}: {error.detail}", component
        ) from error


def _contents(layout: Layout) -> dict[str, Any]:
    """What is worth showing of a file: counts and sizes of all tensors, the names of some."""
    by_dtype: dict[str, int] = {}
    for tensor in layout.tensors:
        by_dtype[tensor.dtype] = by_dtype.get(tensor.dtype, 0) + tensor.size
    return {
        "tensor_count": len(layout.tensors),
        "bytes_by_dtype": by_dtype,
        "tensors": [
            {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "size": tensor.size}
            for tensor in layout.tensors[:MAX_LISTED_TENSORS]
        ],
        "metadata": dict(layout.metadata),
    }
