"""Patches: planned when a version becomes ready, built by workers, served once proved. Writes `patches`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.domain.patch_plan import Base, File, Pair, plan
from service.errors import NotFound
from service.jobs import BUILD_PATCH, Bell
from service.operations import jobs

FORMAT = "glp1"


@dataclass(frozen=True, slots=True)
class ProvedPatch:
    """A patch that its builder has applied and found right."""

    sha256: str
    size: int
    working_set: int
    descriptor: bytes
    stats: dict[str, Any]


def plan_for(session: Session, bell: Bell, version_id: int, *, bases: int) -> list[Pair]:
    """Ask for the patches that a new version is worth, from the versions that devices run."""
    version = store.versions.version_by_id(session, version_id)
    if version is None:
        raise NotFound(f"there is no version {version_id}")
    census = store.devices.census(session, version.model)
    earlier = [
        Base(row.label, files_of(row), census.get(row.label, 0))
        for row in store.versions.earlier_served(session, version, limit=max(50, bases))
    ]
    pairs = plan(files_of(version), earlier, limit=bases)
    for pair in pairs:
        request(session, bell, pair.source, pair.target)
    return pairs


def request(session: Session, bell: Bell, source: str, target: str) -> None:
    """Ask for one patch; asking again changes nothing, but that one which was retired is made anew."""
    table = store.patches.PatchRow
    query = insert(table).values(source_sha256=source, target_sha256=target, format=FORMAT, state="queued")
    query = query.on_conflict_do_update(
        index_elements=[table.source_sha256, table.target_sha256, table.format],
        set_={"state": "queued", "created_at": func.now(), "retired_at": None, "sha256": None},
        where=table.state == "retired",
    )
    made = session.scalar(query.returning(table.id))
    if made is not None:
        jobs.enqueue(session, bell, BUILD_PATCH, f"{BUILD_PATCH}:{made}", {"patch_id": made})


def job_of(session: Session, patch: store.patches.PatchRow) -> store.jobs.JobRow | None:
    """The work on a patch."""
    return store.jobs.job_by_key(session, f"{BUILD_PATCH}:{patch.id}")


def require(session: Session, patch_id: int, *, lock: bool = False) -> store.patches.PatchRow:
    """A patch by its id.

    Raises:
        NotFound: there is none.
    """
    row = store.patches.patch(session, patch_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no patch {patch_id}")
    return row


def record(session: Session, patch_id: int, proved: ProvedPatch, *, now: datetime) -> None:
    """Make a proved patch available."""
    row = require(session, patch_id, lock=True)
    row.state, row.finished_at = "ready", now
    row.sha256, row.size, row.working_set = proved.sha256, proved.size, proved.working_set
    row.descriptor, row.stats = proved.descriptor, proved.stats


def give_up(session: Session, patch_id: int, *, state: str, stats: dict[str, Any], now: datetime) -> None:
    """There will be no patch here; devices get the full file."""
    row = require(session, patch_id, lock=True)
    row.state, row.stats, row.finished_at = state, stats, now


def to_version(session: Session, version: store.versions.VersionRow) -> Sequence[store.patches.PatchRow]:
    """All patches to a version's files, newest first."""
    return store.patches.patches(session, targets=[file.sha256 for file in files_of(version)])


def files_of(version: store.versions.VersionRow) -> list[File]:
    """All components of all builds of a version."""
    return [
        File(component.name, component.blob_sha256, component.blob.size, variant.name)
        for variant in version.variants
        for component in variant.components
    ]
