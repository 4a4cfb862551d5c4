"""Patches: requested, built and verified by workers, served, retired. Writes `patches`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sdk_contract.formats import GLP1
from service import store
from service.domain.patching.candidates import ComponentFile, PatchPair, SourceVersion
from service.domain.patching.planner import initial_pairs
from service.errors import NotFound
from service.infrastructure.jobs import BUILD_PATCH, JobNotifier
from service.operations.platform import jobs


@dataclass(frozen=True, slots=True)
class VerifiedPatch:
    """A patch that its builder has applied and verified; sizes in bytes."""

    sha256: str
    size: int
    working_set: int
    descriptor: bytes
    stats: dict[str, Any]


def request_for_version(
    session: Session, notifier: JobNotifier, version_id: int, *, bases: int
) -> list[PatchPair]:
    """Request the first patches of a new version, from up to `bases` versions that devices run.

    Raises:
        NotFound: there is no such version.
    """
    version = store.versions.version_by_id(session, version_id)
    if version is None:
        raise NotFound(f"there is no version {version_id}")
    devices = store.devices.devices_per_version(session, version.model)
    earlier = [
        SourceVersion(row.label, files_of(row), devices.get(row.label, 0))
        for row in store.versions.earlier_served(session, version, limit=max(50, bases))
    ]
    pairs = initial_pairs(files_of(version), earlier, limit=bases)
    for pair in pairs:
        request(session, notifier, pair.source, pair.target)
    return pairs


def request(session: Session, notifier: JobNotifier, source: str, target: str) -> None:
    """Request a patch. Repeating it changes nothing, unless the patch was retired; then it is built again."""
    table = store.patches.PatchRow
    query = insert(table).values(source_sha256=source, target_sha256=target, format=GLP1, state="queued")
    query = query.on_conflict_do_update(
        index_elements=[table.source_sha256, table.target_sha256, table.format],
        set_={"state": "queued", "created_at": func.now(), "retired_at": None, "sha256": None},
        where=table.state == "retired",
    )
    patch_id = session.scalar(query.returning(table.id))
    if patch_id is not None:
        jobs.enqueue(session, notifier, BUILD_PATCH, f"{BUILD_PATCH}:{patch_id}", {"patch_id": patch_id})


def job_of(session: Session, patch: store.patches.PatchRow) -> store.jobs.JobRow | None:
    """The job that builds a patch."""
    return store.jobs.job_by_key(session, f"{BUILD_PATCH}:{patch.id}")


def require(session: Session, patch_id: int, *, lock: bool = False) -> store.patches.PatchRow:
    """The patch with that id.

    Raises:
        NotFound: there is none.
    """
    row = store.patches.patch(session, patch_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no patch {patch_id}")
    return row


def mark_ready(session: Session, patch_id: int, built: VerifiedPatch, *, now: datetime) -> None:
    """Make a verified patch available to devices."""
    row = require(session, patch_id, lock=True)
    row.state, row.finished_at = "ready", now
    row.sha256, row.size, row.working_set = built.sha256, built.size, built.working_set
    row.descriptor, row.stats = built.descriptor, built.stats


def mark_unavailable(
    session: Session, patch_id: int, *, state: str, stats: dict[str, Any], now: datetime
) -> None:
    """Record that there will be no patch, because it failed or is not worth it; devices get the full file."""
    row = require(session, patch_id, lock=True)
    row.state, row.stats, row.finished_at = state, stats, now


def list_for_version(
    session: Session, version: store.versions.VersionRow
) -> Sequence[store.patches.PatchRow]:
    """All patches to the files of a version, newest first."""
    return store.patches.patches(session, targets=[file.sha256 for file in files_of(version)])


def files_of(version: store.versions.VersionRow) -> list[ComponentFile]:
    """The files of all variants of a version."""
    return [
        ComponentFile(component.name, component.blob_sha256, component.blob.size, variant.name)
        for variant in version.variants
        for component in variant.components
    ]
