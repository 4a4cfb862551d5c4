"""Ingest the uploaded files of a version: verify digest and size, read the layout, store the blob.

A file is copied from its upload key to its final key only after its digest was verified. A file that
violates the rules of its own format rejects the version.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from service.errors import NotFound
from service.infrastructure import database
from service.infrastructure.blobs import BlobReader, BlobStore, BlobStoreError, blob_key
from service.infrastructure.clock import utc_now
from service.infrastructure.observability import log
from service.operations.releases import uploads, versions
from service.operations.releases.uploads import PendingBlob
from workers.context import WorkerContext
from workers.delta.layouts import Layout, MalformedFile, read_layout
from workers.job_runner import InputRejected, Job

MAX_LISTED_TENSORS = 200


def run(job: Job) -> None:
    """Ingest every new file of a version, then request the publisher's signature.

    Raises:
        InputRejected: a file differs from its declaration, or is malformed.
    """
    context, version_id = job.context, job.args["version_id"]
    with database.read_only(context.engine) as session:
        version = versions.require_by_id(session, version_id)
        pending = uploads.pending_blobs(session, version)
    total = sum(blob.size for blob in pending.values())
    done = 0
    for sha256, blob in pending.items():
        try:
            _ingest_blob(job, sha256, blob, done, total)
        except (NotFound, InputRejected):
            # Another version with the same file may have been ingested meanwhile, which removes the upload.
            if not _is_stored(context, sha256):
                raise
        done += blob.size
    with job.completion() as session:
        versions.request_signature(session, context.notifier, version_id)


def on_dead(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """Reject the version, with the reason; its label can be used again."""
    versions.reject(session, args["version_id"], problem=problem, now=utc_now())


def _is_stored(context: WorkerContext, sha256: str) -> bool:
    with database.read_only(context.engine) as session:
        return uploads.is_stored(session, sha256)


def _ingest_blob(job: Job, sha256: str, blob: PendingBlob, done: int, total: int) -> None:
    if blob.key is None:
        raise InputRejected(
            "upload_incomplete", f"the upload of {blob.component} is missing; upload it again", blob.component
        )
    blobs = job.context.blobs
    try:
        for _ in _verifying(sha256, blob, _reporting_progress(job, _stream(blobs, blob), (done, total))):
            pass
        layout = _read_layout(BlobReader(blobs, blob.key, blob.size), blob.component)
        _move_to_final_key(blobs, sha256, blob)
    except InputRejected:
        with database.transaction(job.context.engine) as session:
            uploads.discard(session, blobs, sha256, blob.key)
        raise
    with database.transaction(job.context.engine) as session:
        uploads.mark_stored(
            session, blobs, sha256, file_format=layout.format, contents=_describe_contents(layout)
        )
    blobs.delete(blob.key)


def _stream(blobs: BlobStore, blob: PendingBlob) -> Iterator[bytes]:
    try:
        yield from blobs.stream(blob.key or "")
    except NotFound as error:
        raise InputRejected(
            "upload_incomplete", f"{blob.component}: {error.detail}", blob.component
        ) from error


def _reporting_progress(job: Job, chunks: Iterator[bytes], progress: tuple[int, int]) -> Iterator[bytes]:
    done, total = progress
    for chunk in chunks:
        done += len(chunk)
        job.report_progress(done, total)
        yield chunk


def _verifying(sha256: str, blob: PendingBlob, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks unchanged; raise after the last one if size or digest differ from the declaration."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != blob.size:
        raise InputRejected(
            "size_mismatch", f"{size} bytes were uploaded, {blob.size} were declared", blob.component
        )
    if digest.hexdigest() != sha256:
        raise InputRejected(
            "digest_mismatch",
            f"the SHA-256 of the uploaded bytes is {digest.hexdigest()}, {sha256} was declared",
            blob.component,
        )


def _move_to_final_key(blobs: BlobStore, sha256: str, blob: PendingBlob) -> None:
    """Copy inside the store; if that fails, stream the bytes through this process.

    SeaweedFS 4.48 can lose a part of an upload whose sender was disconnected and resumed: it still serves the
    object from its cache, but every copy fails.

    Raises:
        InputRejected: the store is reachable and has lost bytes.
    """
    try:
        blobs.copy(blob.key or "", blob_key(sha256))
    except BlobStoreError:
        if blobs.size(blob.key or "") is None:
            raise
        log("ingest").warning("blob.copied_by_streaming", component=blob.component, sha256=sha256)
        _copy_by_streaming(blobs, sha256, blob)


def _copy_by_streaming(blobs: BlobStore, sha256: str, blob: PendingBlob) -> None:
    # `_verifying` raises before the upload completes, so wrong bytes are never stored.
    try:
        blobs.put_chunks(blob_key(sha256), _verifying(sha256, blob, _stream(blobs, blob)))
    except (BlobStoreError, InputRejected) as error:
        raise InputRejected(
            "upload_incomplete",
            f"the object store lost a part of {blob.component}; upload it again",
            blob.component,
        ) from error


def _read_layout(reader: BlobReader, component: str) -> Layout:
    try:
        return read_layout(reader)
    except MalformedFile as error:
        raise InputRejected(
            "malformed_file", f"{error.format}: {error.code}: {error.detail}", component
        ) from error


def _describe_contents(layout: Layout) -> dict[str, Any]:
    """A bounded summary of a file: tensor count, bytes by dtype, and the first tensors."""
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
