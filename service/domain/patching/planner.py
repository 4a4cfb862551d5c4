"""Which patches to a version are built: those that save the fleet the most bytes.

A device applies one patch to the file that it has. There are no chains of patches, because no manifest vouches for a
file in the middle, and because the server has all sources and can build the direct patch.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import median

from service.domain.patching.candidates import (
    ComponentFile,
    PatchCandidate,
    PatchDemand,
    PatchPair,
    PlanReason,
    SourceVersion,
)

DEFAULT_SIZE_RATIO = 0.3
"""Estimated size of a patch as a share of the full file, until a patch to the same version was built."""
ATTEMPTED_STATES = frozenset({"queued", "ready", "not_worth_it", "failed"})
MIN_FLEET_SHARE = 0.01
"""A source that a smaller share of the fleet runs gets a patch only when a poll lacks it."""

_REASON_OF_STATE: Mapping[str | None, PlanReason] = {
    "ready": "built",
    "queued": "building",
    "not_worth_it": "not_worth_it",
    "failed": "failed",
}


def initial_pairs(
    target: Sequence[ComponentFile], sources: Sequence[SourceVersion], *, limit: int
) -> list[PatchPair]:
    """Return the patches to build when a version becomes ready, the most valuable first.

    Args:
        target: files of the new version.
        sources: earlier versions, newest first; the newest counts even before a device runs it.
        limit: number of source versions at most: the newest, and those that most devices run.
    """
    by_devices = sorted(sources, key=lambda source: source.devices, reverse=True)
    chosen = list(dict.fromkeys([*sources[:1], *by_devices]))[:limit]
    return [candidate.pair for candidate in rank_patches(target, chosen, PatchDemand(), limit=0)]


def rank_patches(
    target: Sequence[ComponentFile], sources: Sequence[SourceVersion], demand: PatchDemand, *, limit: int
) -> list[PatchCandidate]:
    """Return every pair that leads to a version, the most valuable first, each with the reason why it is built or not.

    Args:
        target: files of the version.
        sources: versions that devices may run.
        demand: what was built and requested.
        limit: number of patches to one version at most, including those that failed.
    """
    candidates = _with_estimates(_candidates(target, sources, demand))
    ranked = sorted(candidates, key=lambda item: (-item.saved_bytes, item.pair.source, item.pair.target))
    remaining = limit - sum(candidate.state in ATTEMPTED_STATES for candidate in ranked)
    min_devices = MIN_FLEET_SHARE * sum(source.devices for source in sources)
    found = []
    for item in ranked:
        candidate = replace(item, reason=_reason(item, remaining, min_devices))
        remaining -= candidate.build_now
        found.append(candidate)
    return found


def unused_patches(
    patches: Sequence[PatchPair],
    *,
    running: Collection[str],
    offered: Collection[str],
    pending: Collection[str],
) -> list[PatchPair]:
    """Return the patches that no device can need anymore.

    A patch is kept if devices run a version with its source, if its target is offered or in an open attempt, or if its
    source is offered, since a rollback would need it.

    Args:
        patches: the patches that are served.
        running: SHA-256 of the files of versions that devices run.
        offered: SHA-256 of the files of versions that a rollout offers or may offer.
        pending: SHA-256 of the files of versions with open attempts.
    """
    return [
        pair
        for pair in patches
        if pair.source not in running
        and pair.source not in offered
        and pair.target not in offered
        and pair.target not in pending
    ]


def _candidates(
    target: Sequence[ComponentFile], sources: Sequence[SourceVersion], demand: PatchDemand
) -> list[PatchCandidate]:
    found: dict[PatchPair, PatchCandidate] = {}
    for file in target:
        for pair in demand.requests:
            if pair.target == file.sha256 and pair not in found:
                found[pair] = _candidate(file, pair, demand)
        for version in sources:
            for pair in _pairs_from(version, file):
                candidate = found.get(pair) or _candidate(file, pair, demand)
                found[pair] = _add_source(candidate, version)
    return list(found.values())


def _pairs_from(version: SourceVersion, target: ComponentFile) -> list[PatchPair]:
    """Return the pairs from the version's files of the same component, of the same variant if it has that one.

    int4 weights say nothing about int8 weights, so another variant is only the second choice.
    """
    if any(file.sha256 == target.sha256 for file in version.files):
        return []
    same_component = [file for file in version.files if file.name == target.name]
    same_variant = [file for file in same_component if file.variant == target.variant]
    return [PatchPair(file.sha256, target.sha256) for file in same_variant or same_component]


def _candidate(file: ComponentFile, pair: PatchPair, demand: PatchDemand) -> PatchCandidate:
    build = demand.build_states.get(pair)
    size = build.size if build is not None else None
    return PatchCandidate(
        pair=pair,
        component=file.name,
        variant=file.variant,
        full_size=file.size,
        patch_size=size or 0,
        requests=demand.requests.get(pair, 0),
        estimated=size is None,
        state=build.state if build is not None else None,
    )


def _add_source(candidate: PatchCandidate, version: SourceVersion) -> PatchCandidate:
    if version.label in candidate.source_versions:
        return candidate
    return replace(
        candidate,
        source_versions=(*candidate.source_versions, version.label),
        devices=candidate.devices + version.devices,
    )


def _with_estimates(candidates: Sequence[PatchCandidate]) -> list[PatchCandidate]:
    """Estimate the sizes of patches that were not built from those that were."""
    ratios = [
        item.patch_size / item.full_size for item in candidates if not item.estimated and item.full_size
    ]
    ratio = median(ratios) if ratios else DEFAULT_SIZE_RATIO
    return [
        replace(item, patch_size=round(ratio * item.full_size)) if item.estimated else item
        for item in candidates
    ]


def _reason(candidate: PatchCandidate, remaining: int, min_devices: float) -> PlanReason:
    if candidate.state in _REASON_OF_STATE:
        return _REASON_OF_STATE[candidate.state]
    if not candidate.devices and not candidate.requests:
        return "no_devices"
    if not candidate.requests and candidate.devices < min_devices:
        return "few_devices"
    if remaining <= 0:
        return "limit_reached"
    return "requested" if candidate.requests else "many_devices"
