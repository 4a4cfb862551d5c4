"""Patch planning: which patches are worth building now, and which are no longer needed.

The planner runs every half minute, on the numbers of devices per version and on the patches that polls have requested.
A run without changes writes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.formats import GLP1
from service import store
from service.domain.patching.candidates import (
    BuildState,
    PatchCandidate,
    PatchDemand,
    PatchPair,
    SourceVersion,
)
from service.domain.patching.planner import rank_patches, unused_patches
from service.infrastructure.blobs import BlobStore, blob_key
from service.infrastructure.jobs import JobNotifier
from service.operations.patching import patches, requests

MAX_BASES = 100
"""Older versions that patches may start from, the newest first."""
REQUEST_LIFETIME = timedelta(days=1)
MIN_SERVED_FOR = timedelta(days=1)
"""A patch is served at least this long before it can be retired."""
PURGE_AFTER = timedelta(days=2)
"""From retirement to deletion of the bytes; longer than the default lease of an attempt."""
ACTIVE_STATES = ("draft", "awaiting_approval", "scheduled", "running", "paused")


def rank_for_version(
    session: Session, version: store.versions.VersionRow, *, limit: int, now: datetime
) -> list[PatchCandidate]:
    """Rank the possible patches to a version, the most valuable first.

    Args:
        session: the transaction.
        version: the target version with its contents.
        limit: the maximum number of patches to one version.
        now: the current time.
    """
    devices = store.devices.devices_per_version(session, version.model)
    bases = [
        SourceVersion(row.label, patches.files_of(row), devices.get(row.label, 0))
        for row in store.versions.earlier_served(session, version, limit=MAX_BASES)
    ]
    files = patches.files_of(version)
    return rank_patches(files, bases, _demand(session, [file.sha256 for file in files], now), limit=limit)


def request_planned(
    session: Session, notifier: JobNotifier, *, limit: int, now: datetime
) -> list[PatchCandidate]:
    """Request the patches that are worth building now; return them."""
    requests.delete_older(session, than=now - REQUEST_LIFETIME)
    found = store.patches.requests(session, since=now - REQUEST_LIFETIME)
    requested = {row.target_sha256 for row in found}
    planned = [
        candidate
        for version in _targets(session, requested)
        for candidate in rank_for_version(session, version, limit=limit, now=now)
        if candidate.build_now
    ]
    for candidate in planned:
        patches.request(session, notifier, candidate.pair.source, candidate.pair.target)
    return planned


def retire_unused(session: Session, *, now: datetime) -> list[PatchPair]:
    """Retire the patches that no device can need anymore; return them. Their bytes are kept for a while."""
    served = {
        PatchPair(row.source_sha256, row.target_sha256): row
        for row in store.patches.ready_before(session, now - MIN_SERVED_FOR)
    }
    if not served:
        return []
    versions = store.versions.served_versions(session)
    open_versions = set(store.attempts.versions_with_open_attempts(session))
    found = unused_patches(
        list(served),
        running=_blobs_of(_running_versions(session, versions)),
        offered=_blobs_of(_offered_versions(session, versions)),
        pending=_blobs_of(version for version in versions if version.id in open_versions),
    )
    for pair in found:
        served[pair].state, served[pair].retired_at = "retired", now
    return found


def purge_retired(session: Session, blobs: BlobStore, *, now: datetime) -> int:
    """Delete the bytes of patches that were retired long ago; return how many.

    The rows are locked meanwhile, so that a new request for a patch waits and then builds it again.
    """
    rows = store.patches.retired_before(session, now - PURGE_AFTER)
    if not rows:
        return 0
    open_versions = set(store.attempts.versions_with_open_attempts(session))
    versions = store.versions.served_versions(session)
    needed = _blobs_of(version for version in versions if version.id in open_versions)
    expired = [row for row in rows if row.target_sha256 not in needed]
    for row in expired:
        if row.sha256 is not None:
            blobs.delete(blob_key(row.sha256))
        row.sha256, row.descriptor = None, None
    return len(expired)


def _demand(session: Session, targets: Sequence[str], now: datetime) -> PatchDemand:
    rows = store.patches.patches(session, targets=targets, limit=10_000)
    found = store.patches.requests(session, since=now - REQUEST_LIFETIME)
    return PatchDemand(
        build_states={
            PatchPair(row.source_sha256, row.target_sha256): _build_state(row)
            for row in rows
            if row.format == GLP1
        },
        requests={PatchPair(row.source_sha256, row.target_sha256): row.request_count for row in found},
    )


def _build_state(row: store.patches.PatchRow) -> BuildState:
    stats = row.stats or {}
    return BuildState(row.state, row.size or stats.get("patch_size"))


def _targets(session: Session, requested: set[str]) -> list[store.versions.VersionRow]:
    """The ready versions that are offered, or to which polls have requested patches."""
    versions = store.versions.served_versions(session)
    offered = {version.id for version in _offered_versions(session, versions)}
    return [
        version
        for version in versions
        if version.state == "ready" and (version.id in offered or requested & _blobs_of([version]))
    ]


def _running_versions(
    session: Session, versions: Sequence[store.versions.VersionRow]
) -> list[store.versions.VersionRow]:
    """The versions that devices run, as last reported."""
    devices = {
        model: store.devices.devices_per_version(session, model)
        for model in {version.model for version in versions}
    }
    return [version for version in versions if devices[version.model].get(version.label)]


def _offered_versions(
    session: Session, versions: Sequence[store.versions.VersionRow]
) -> list[store.versions.VersionRow]:
    """Versions of active and planned rollouts, and per model the newest completed and the newest ready version."""
    planned, released = (
        set(store.rollouts.version_ids_in_states(session, states))
        for states in (ACTIVE_STATES, ("completed",))
    )
    newest: dict[tuple[str, bool], store.versions.VersionRow] = {}
    for version in versions:
        if version.state == "ready":
            # Rows come in the order of their counters, so the last one is the newest.
            newest[version.model, False] = version
            if version.id in released:
                newest[version.model, True] = version
    kept = planned | {version.id for version in newest.values()}
    return [version for version in versions if version.id in kept]


def _blobs_of(versions: Iterable[store.versions.VersionRow]) -> set[str]:
    return {file.sha256 for version in versions for file in patches.files_of(version)}


def view(candidate: PatchCandidate) -> dict[str, Any]:
    """A candidate as the API returns it."""
    fields = (
        "component",
        "variant",
        "source_versions",
        "devices",
        "requests",
        "full_size",
        "patch_size",
        "estimated",
    )
    pair = {"source_sha256": candidate.pair.source, "target_sha256": candidate.pair.target}
    plan = {"saved_bytes": candidate.saved_bytes, "state": candidate.state, "reason": candidate.reason}
    return {**pair, **{name: getattr(candidate, name) for name in fields}, **plan}
