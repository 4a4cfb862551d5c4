"""Build a patch, prove it by applying it, sign its description, store it."""

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.documents import Bytes, PatchDescriptor, timestamp
from sdk_contract.patch import apply_patch
from service import database, signing
from service.blobs import BlobStore, blob_key
from service.operations import patches
from service.operations.patches import ProvedPatch
from service.tokens import utc_now
from workers.context import Job, Rejected
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch
from workers.delta.ranges import LocalFile

WORTH_IT = 0.8
"""A patch larger than this share of the full file is not kept."""


def run(job: Job) -> None:
    """Compute the patch between two stored blobs.

    Raises:
        Rejected: the proof failed; such a patch is never served.
        KeyUnusable: this worker does not hold the patcher's key.
    """
    context, patch_id = job.context, job.args["patch_id"]
    signer = signing.signer_from(context.settings.patcher_key, "patcher")
    with database.read_only(context.engine) as session:
        wanted = patches.require(session, patch_id)
        source_sha256, target_sha256 = wanted.source_sha256, wanted.target_sha256
    with tempfile.TemporaryDirectory(prefix="graylag-", dir=context.settings.scratch_dir) as scratch:
        source = _fetch(context.blobs, source_sha256, Path(scratch) / "source")
        target = _fetch(context.blobs, target_sha256, Path(scratch) / "target")
        patch = Path(scratch) / "patch"
        built = _build(job, source, target, patch)
        refusal = _refusal(built)
        if refusal is not None:
            with job.closing() as session:
                patches.give_up(session, patch_id, state="not_worth_it", stats=refusal, now=utc_now())
            return
        if not isinstance(built, BuiltPatch):
            raise TypeError(built)
        _prove(source, patch, built, Path(scratch) / "proof", target_sha256)
        descriptor = _describe(built).seal([signer])
        context.blobs.put_file(blob_key(built.patch_sha256.hex()), patch)
    with job.closing() as session:
        patches.record(session, patch_id, _proved(built, descriptor), now=utc_now())


def bury(session: Session, args: dict[str, Any], problem: dict[str, Any]) -> None:
    """There will be no patch; devices get the full file."""
    patches.give_up(session, args["patch_id"], state="failed", stats=problem, now=utc_now())


def _fetch(blobs: BlobStore, sha256: str, path: Path) -> Path:
    with path.open("wb") as file:
        for chunk in blobs.stream(blob_key(sha256)):
            file.write(chunk)
    return path


def _build(job: Job, source: Path, target: Path, patch: Path) -> BuiltPatch | NotWorthIt:
    with LocalFile(source) as old, LocalFile(target) as new, patch.open("wb") as out:
        return build_patch(old, new, out, threads=job.context.settings.patch_threads, progress=job.report)


def _refusal(built: BuiltPatch | NotWorthIt) -> dict[str, Any] | None:
    """Why the patch is not kept, if it is not."""
    if isinstance(built, NotWorthIt):
        return {"predicted_size": built.predicted_size, "full_size": built.full_size}
    if built.patch_size > WORTH_IT * built.target_size:
        return {"patch_size": built.patch_size, "full_size": built.target_size}
    return None


def _prove(source: Path, patch: Path, built: BuiltPatch, proof: Path, target_sha256: str) -> None:
    """Apply it as a device would; the applier compares every digest, and this the whole."""
    applied = apply_patch(source, patch, proof, index_sha256=built.index_sha256)
    if applied.target_sha256.hex() != target_sha256 or built.target_sha256.hex() != target_sha256:
        raise Rejected("proof_failed", "the patch does not give the target's bytes")


def _describe(built: BuiltPatch) -> PatchDescriptor:
    return PatchDescriptor(
        format="glp1",
        source=Bytes(sha256=built.source_sha256.hex(), size=built.source_size),
        target=Bytes(sha256=built.target_sha256.hex(), size=built.target_size),
        patch=Bytes(sha256=built.patch_sha256.hex(), size=built.patch_size),
        index_sha256=built.index_sha256.hex(),
        working_set=built.working_set,
        issued=timestamp(utc_now()),
    )


def _proved(built: BuiltPatch, descriptor: bytes) -> ProvedPatch:
    return ProvedPatch(
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
