"""The sections of a preview, as the admin API returns them: fleet, stages, versions, download, forecast, warnings."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from service import store
from service.domain.catalog import Rollout
from service.domain.fleet.preview import DeviceCounts, GroupOutcome, by_version, percentile
from service.domain.rollouts.duration import ArrivalPattern, StageLoad, estimate_duration
from service.domain.rollouts.policy import parse_policy
from service.domain.rollouts.stages import stage_requirements
from service.domain.rollouts.windows import Windows

SILENT_AFTER = timedelta(days=7)
ATTEMPT_HOURS = 0.5
"""Assumed time from an offer to its report if only open downloads are limited; nobody knows the fleet's bandwidth."""
WARN_SHARE = 1 / 20
"""Share of the fleet above which silent devices, and devices without attributes, are worth a warning."""


def fleet(outcomes: Sequence[GroupOutcome], *, uncounted: int, never_polled: int) -> dict[str, Any]:
    """How many devices the rollout reaches, and why it does not reach the others."""
    excluded = Counter[str]()
    for outcome in outcomes:
        if outcome.stage is None:
            excluded[outcome.reason] += outcome.group.devices
    return {
        "devices": sum(outcome.group.devices for outcome in outcomes),
        "reached": sum(outcome.group.devices for outcome in outcomes if outcome.stage is not None),
        "silent": sum(outcome.group.silent for outcome in outcomes),
        "without_attributes": sum(outcome.group.without_attributes for outcome in outcomes),
        "excluded": dict(excluded),
        "uncounted": uncounted,
        "never_polled": never_polled,
    }


def stages(rollout: Rollout, counts: Sequence[DeviceCounts]) -> list[dict[str, Any]]:
    """What every stage adds, and the totals up to it."""
    sections = []
    devices = size = 0
    for stage, stage_counts in zip(rollout.stages, counts, strict=True):
        devices, size = devices + stage_counts.devices, size + stage_counts.bytes
        cumulative = {"cumulative_devices": devices, "cumulative_bytes": size}
        sections.append(
            {"cohort": stage.cohort, "percent": stage.percent, **_counts(stage_counts), **cumulative}
        )
    return sections


def versions(outcomes: Sequence[GroupOutcome]) -> list[dict[str, Any]]:
    """The same by the version that devices run."""
    return [
        {"version": version, **_counts(reached), "excluded": dict(excluded)}
        for version, (reached, excluded) in sorted(
            by_version(outcomes).items(), key=lambda item: item[0] or ""
        )
    ]


def download(outcomes: Sequence[GroupOutcome]) -> dict[str, int]:
    """The download sizes of the devices that are reached, and the memory that the largest patch takes."""
    reached = [outcome for outcome in outcomes if outcome.stage is not None]
    sizes = [(outcome.bytes, outcome.group.devices) for outcome in reached]
    return {
        "p50_bytes": percentile(sizes, 0.5),
        "p95_bytes": percentile(sizes, 0.95),
        "max_bytes": max((size for size, _ in sizes), default=0),
        "total_bytes": sum(size * devices for size, devices in sizes),
        "peak_memory_bytes": max((outcome.memory for outcome in reached), default=0),
    }


def forecast(
    row: store.rollouts.RolloutRow, counts: Sequence[DeviceCounts], poll_interval: timedelta
) -> dict[str, Any]:
    """How long the rollout takes, and what that assumes."""
    policy = parse_policy(row.policy)
    requirements = [stage_requirements(stage.advance_when) for stage in row.stages]
    loads = [
        StageLoad(stage_counts.devices, stage_counts.bytes, requirement.minutes, requirement.reports)
        for stage_counts, requirement in zip(counts, requirements, strict=True)
    ]
    arrivals = ArrivalPattern(poll_interval / timedelta(hours=1), open_share(policy.windows), ATTEMPT_HOURS)
    duration = estimate_duration(loads, arrivals, policy.pacing)
    return {
        "days_to_95_percent": _days(duration.most_devices_h),
        "stage_opens_day": [_days(hours) for hours in duration.stage_opens_h],
        "assumptions": [
            f"devices poll every {arrivals.poll_h:g} h, {arrivals.open_share:.0%} of the time inside the windows",
            f"all gates pass, approvals come at once, and an attempt takes {ATTEMPT_HOURS * 60:g} minutes",
            (
                "devices have the files of their version, accept glp1 patches, want all components, "
                "and support deferred activation"
            ),
            "earlier failures and open attempts of other rollouts do not matter",
        ],
    }


def open_share(windows: Windows | None) -> float:
    """The share of a week that lies inside the windows; overlaps count twice."""
    if windows is None:
        return 1.0
    minutes = sum(daily.minutes * len(daily.days) for daily in windows.daily)
    return min(1.0, minutes / (7 * 24 * 60))


def warnings(
    row: store.rollouts.RolloutRow, counts: Sequence[DeviceCounts], fleet: dict[str, Any]
) -> list[str]:
    """What to check before the start."""
    found = []
    for number, (stage, stage_counts) in enumerate(zip(row.stages, counts, strict=True), 1):
        reports = stage_requirements(stage.advance_when).reports
        if stage_counts.devices < max(reports, 1):
            found.append(
                f"stage {number} reaches {stage_counts.devices} devices but requires {reports} reports, "
                "so it will not advance by itself; lower `reports` or widen the stage"
            )
    if fleet["uncounted"]:
        found.append(
            f"{fleet['uncounted']} devices are not counted, because their attributes differ too much"
        )
    if fleet["silent"] > fleet["devices"] * WARN_SHARE:
        found.append(
            f"{fleet['silent']} of {fleet['devices']} devices have not polled for {SILENT_AFTER.days} days"
        )
    if fleet["without_attributes"] > fleet["devices"] * WARN_SHARE:
        found.append(
            f"{fleet['without_attributes']} devices have reported no attributes, so few rules match them"
        )
    return found


def _counts(counts: DeviceCounts) -> dict[str, Any]:
    """The counts of a group of devices; the version of a device that has none is the empty string."""
    current_versions = {
        version or "": count
        for version, count in sorted(counts.current_versions.items(), key=lambda item: item[0] or "")
    }
    return {
        "devices": counts.devices,
        "bytes": counts.bytes,
        "silent": counts.silent,
        "waiting_for_patch": counts.waiting_for_patch,
        "paths": dict(counts.paths),
        "current_versions": current_versions,
    }


def _days(hours: float | None) -> float | None:
    return None if hours is None else round(hours / 24, 2)
