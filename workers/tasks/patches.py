"""Build a patch, verify it by applying it, sign its descriptor and store it."""

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.documents import FileDigest, PatchDescriptor, format_timestamp
from sdk_contract.formats import GLP1
from sdk_contract.patch import apply_patch
from service.infrastructure import database, signing
from service.infrastructure.blobs import BlobStore, blob_key
from service.infrastructure.clock import utc_now
from service.operations.patching import patches
from service.operations.patching.patches import VerifiedPatch
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch, is_worth_it
from workers.delta.local_file import LocalFile
from workers.job_runner import InputRejected, Job


def run(job: Job) -> None:
    """Build the patch between two stored blobs.

    Raises:
        InputRejected: the patch does not reproduce the target; it is never served.
        KeyUnusable: this worker has no patcher key.
    """
    context, patch_id = job.context, job.args["patch_id"]
    signer = signing.load_signer(context.settings.patcher_key, "patcher")
    with database.read_only(context.engine) as session:
        row = patches.require(session, patch_id)
        source_sha256, target_sha256 = row.source_sha256, row.target_sha256
    with tempfile.TemporaryDirectory(prefix="graylag-", dir=context.settings.scratch_dir) as scratch:
        source = _download(context.blobs, source_sha256, Path(scratch) / "source")
        target = _download(context.blobs, target_sha256, Path(scratch) / "target")
        patch = Path(scratch) / "patch"
        built = _build(job, source, target, patch)
        if isinstance(built, NotWorthIt) or not is_worth_it(built.patch_size, built.full_size):
            _mark_not_worth_it(job, patch_id, built.patch_size, built.full_size)
            return
        _verify_by_applying(source, patch, built, Path(scratch) / "applied", target_sha256)
        descriptor = _descriptor(built).sign([signer])
        context.blobs.put_file(blob_key(built.patch_sha256.hex()), patch)
    with job.completion() as session:
        patches.mark_ready(session, patch_id, _patch_record(built, descriptor), now=utc_now())


def on_dead(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """Mark the patch failed; devices get the full file."""
    patches.mark_unavailable(session, args["patch_id"], state="failed", stats=problem, now=utc_now())


def _download(blobs: BlobStore, sha256: str, path: Path) -> Path:
    with path.open("wb") as file:
        for chunk in blobs.stream(blob_key(sha256)):
            file.write(chunk)
    return path


def _build(job: Job, source: Path, target: Path, patch: Path) -> BuiltPatch | NotWorthIt:
    with LocalFile(source) as old, LocalFile(target) as new, patch.open("wb") as out:
        return build_patch(
            old, new, out, threads=job.context.settings.patch_threads, progress=job.report_progress
        )


def _mark_not_worth_it(job: Job, patch_id: int, patch_size: int, full_size: int) -> None:
    stats = {"patch_size": patch_size, "full_size": full_size}
    with job.completion() as session:
        patches.mark_unavailable(session, patch_id, state="not_worth_it", stats=stats, now=utc_now())


def _verify_by_applying(
    source: Path, patch: Path, built: BuiltPatch, output: Path, target_sha256: str
) -> None:
    """Apply the patch as a device would: the applier checks each block, this function the whole file."""
    applied = apply_patch(source, patch, output, index_sha256=built.index_sha256)
    if applied.target_sha256.hex() != target_sha256 or built.target_sha256.hex() != target_sha256:
        raise InputRejected("patch_verification_failed", "applying the patch does not give the target file")


def _descriptor(built: BuiltPatch) -> PatchDescriptor:
    return PatchDescriptor(
        format=GLP1,
        source=FileDigest(sha256=built.source_sha256.hex(), size=built.source_size),
        target=FileDigest(sha256=built.target_sha256.hex(), size=built.target_size),
        patch=FileDigest(sha256=built.patch_sha256.hex(), size=built.patch_size),
        index_sha256=built.index_sha256.hex(),
        working_set=built.working_set,
        issued=format_timestamp(utc_now()),
    )


def _patch_record(built: BuiltPatch, descriptor: bytes) -> VerifiedPatch:
    return VerifiedPatch(
        sha256=built.patch_sha256.hex(),
        size=built.patch_size,
        working_set=built.working_set,
        descriptor=descriptor,
        stats={
            "ratio": built.patch_size / built.target_size,
            "seconds": round(built.seconds, 3),
            "ops": built.ops,
        },
    )
