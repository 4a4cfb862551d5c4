"""A preview: what a rollout would do to the fleet as it is known, decided by the code that answers polls.

The database counts the fleet in groups (`store.fleet`); each group is decided on once (`domain.preview`). Attempts and
events are not read, so it costs the same however long the service has been running.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.catalogue import Line, Rollout
from service.domain.decisions import When
from service.domain.fleet import Lens, lens
from service.domain.forecast import Leg, Rhythm, forecast
from service.domain.policy import parse_policy
from service.domain.preview import (
    Crowd,
    Outcome,
    Tally,
    by_stage,
    by_version,
    opened,
    outcome,
    percentile,
    stands_for,
)
from service.domain.rollouts import hold_of
from service.domain.windows import DEVICE, Windows
from service.errors import VersionNotReady
from service.serving.answer import choose_line
from service.serving.inquiry import PATCH_FORMATS
from service.serving.snapshot import Snapshot, rollout_of
from service.store import fleet

OF_THE_CLOCK = ("timezone", "utc_offset_min")
"""Attributes from which `domain.windows` takes a device's own time."""
OF_THE_STRATUM = ("soc", "ram_mb", "os", "os_version", "app_version")
"""Attributes from which `domain.strata` makes a device's class."""
SILENT_AFTER = timedelta(days=7)
ATTEMPT_H = 0.5
"""From an offer to its report, where only open downloads are limited; nobody knows the fleet's links."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service is set to.

    Attributes:
        poll: pause between two polls of a device.
        patch_wait: how long devices wait for a patch in the making.
    """

    poll: timedelta
    patch_wait: timedelta


@dataclass(frozen=True, slots=True)
class Scene:
    """The rollout in its place, and what its decisions look at."""

    line: Line
    rollout: Rollout
    lens: Lens


def preview(
    session: Session,
    snapshot: Snapshot,
    row: store.rollouts.RolloutRow,
    *,
    now: datetime,
    settings: Settings,
    listed: int,
) -> dict[str, Any]:
    """Who gets it, how, how many bytes, how long.

    Args:
        session: a `read_only` one.
        snapshot: what polls are answered from.
        row: the rollout, written down or not.
        now: the moment.
        settings: what the service is set to.
        listed: how many devices of the first stage to name.

    Raises:
        VersionNotReady: polls do not know the version.
    """
    scene = _scene(session, snapshot, row)
    when = When(now, now - settings.patch_wait)
    count = fleet.groups(session, scene.lens, model=row.model, silent_since=now - SILENT_AFTER)
    outcomes = [outcome(scene.line, scene.rollout, _crowd(scene.lens, group), when) for group in count.groups]
    first = [group for group, item in zip(count.groups, outcomes, strict=True) if item.stage == 0]
    stages = by_stage(scene.rollout, outcomes)
    known = _fleet(outcomes) | {
        "uncounted": count.uncounted,
        "strangers": fleet.entitled(session, row.model) - _entitled(count.groups) - count.uncounted,
    }
    return {
        "rollout": row.name,
        "model": row.model,
        "version": scene.rollout.version.label,
        "salt": row.salt,
        "fleet": known,
        "stages": _stages(scene.rollout, stages),
        "versions": _versions(outcomes),
        "download": _download(outcomes),
        "forecast": _forecast(row, stages, settings.poll),
        "warnings": _warnings(row, stages, known),
        "devices": fleet.first_ids(session, scene.lens, first, model=row.model, limit=listed),
    }


def _scene(session: Session, snapshot: Snapshot, row: store.rollouts.RolloutRow) -> Scene:
    line = choose_line(snapshot, row.model)
    known = {version.id: version for version in line.versions.values()}
    if row.version_id not in known or not all(stage.cohort in snapshot.cohorts for stage in row.stages):
        raise VersionNotReady(
            "polls do not know this version, or one of the cohorts, yet; ask again", field="version"
        )
    predicates = {name: cohort.matches for name, cohort in snapshot.cohorts.items()}
    live = next((item for item in line.rollouts if item.id == row.id), None)
    rollout = opened(live or rollout_of(row, known[row.version_id], predicates))
    ahead = {other.id for other in store.rollouts.live(session) if _is_asked_before(other, row, line)}
    rollouts = (*(item for item in line.rollouts if item.id in ahead), rollout)
    return Scene(
        # What `prospects` keeps is of the line as polls see it, and of no other.
        line=replace(line, rollouts=rollouts, views={}),
        rollout=rollout,
        lens=_lens(session, row.model, rollouts),
    )


def _is_asked_before(other: store.rollouts.RolloutRow, row: store.rollouts.RolloutRow, line: Line) -> bool:
    """As `store.rollouts.live` orders them; one that is not written down yet is the newest of its version."""
    if other.model != row.model or other.id == row.id:
        return False
    counters = {version.id: version.counter for version in line.versions.values()}
    mine, its = ((item.priority, counters.get(item.version_id, 0)) for item in (row, other))
    if its != mine or row.created_at is None:
        return its > mine
    return other.created_at > row.created_at


def _lens(session: Session, model: str, rollouts: Sequence[Rollout]) -> Lens:
    stages = [{"cohort": stage.cohort} for rollout in rollouts for stage in rollout.stages]
    return lens(
        [*stages, *store.versions.selectors(session, model)],
        {row.name: row.rule for row in store.cohorts.cohorts(session)},
        listed=store.cohorts.listed_cohorts(session),
        percents={rollout.salt: _percents(rollout) for rollout in rollouts},
        whole={name for rollout in rollouts for name in _looked_at(rollout)},
    )


def _percents(rollout: Rollout) -> list[float]:
    return [*(stage.percent for stage in rollout.stages), 100 - rollout.policy.holdback_percent]


def _looked_at(rollout: Rollout) -> tuple[str, ...]:
    """Attributes that no rule names, and that a rollout's answer depends on all the same."""
    windows = rollout.policy.windows
    clock = OF_THE_CLOCK if windows is not None and windows.zone == DEVICE else ()
    return (*clock, *OF_THE_STRATUM) if rollout.held else clock


def _crowd(lens_: Lens, group: fleet.Group) -> Crowd:
    facts = stands_for(
        lens_, group.example, group.codes, group.version, accepts=PATCH_FORMATS, status=group.status
    )
    return Crowd(facts, group.devices, group.served, group.silent, group.bare)


def _entitled(groups: Sequence[fleet.Group]) -> int:
    return sum(group.devices for group in groups if group.served and group.status != "decommissioned")


def _fleet(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All devices that have asked about the model: who is taken, and why the others are not."""
    left = Counter[str]()
    for item in outcomes:
        if item.stage is None:
            left[item.reason] += item.crowd.devices
    return {
        "devices": sum(item.crowd.devices for item in outcomes),
        "reached": sum(item.crowd.devices for item in outcomes if item.stage is not None),
        "silent": sum(item.crowd.silent for item in outcomes),
        "bare": sum(item.crowd.bare for item in outcomes),
        "left": dict(left),
    }


def _stages(rollout: Rollout, stages: Sequence[Tally]) -> list[dict[str, Any]]:
    found = []
    devices = size = 0
    for stage, tally in zip(rollout.stages, stages, strict=True):
        devices, size = devices + tally.devices, size + tally.bytes
        cumulative = {"cumulative_devices": devices, "cumulative_bytes": size}
        found.append({"cohort": stage.cohort, "percent": stage.percent, **_shown(tally), **cumulative})
    return found


def _versions(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    found = by_version(outcomes)
    return [
        {"version": version, **_shown(taken), "left": dict(left)}
        for version, (taken, left) in sorted(found.items(), key=lambda item: item[0] or "")
    ]


def _shown(tally: Tally) -> dict[str, Any]:
    """As people are shown it; a device with no version yet runs `` (nothing)."""
    running = {
        version or "": count for version, count in sorted(tally.running.items(), key=lambda i: i[0] or "")
    }
    counts = {
        "devices": tally.devices,
        "bytes": tally.bytes,
        "silent": tally.silent,
        "waiting": tally.waiting,
    }
    return {**counts, "paths": dict(tally.paths), "running": running}


def _download(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Of the devices that are taken: what they download, and the memory that their largest patch takes."""
    taken = [item for item in outcomes if item.stage is not None]
    sizes = [(item.bytes, item.crowd.devices) for item in taken]
    return {
        "p50_bytes": percentile(sizes, 0.5),
        "p95_bytes": percentile(sizes, 0.95),
        "max_bytes": max((size for size, _ in sizes), default=0),
        "total_bytes": sum(size * devices for size, devices in sizes),
        "peak_memory_bytes": max((item.memory for item in taken), default=0),
    }


def _forecast(row: store.rollouts.RolloutRow, stages: Sequence[Tally], poll: timedelta) -> dict[str, Any]:
    policy = parse_policy(row.policy)
    holds = [hold_of(stage.hold) for stage in row.stages]
    legs = [
        Leg(tally.devices, tally.bytes, hold.minutes, hold.reports)
        for tally, hold in zip(stages, holds, strict=True)
    ]
    rhythm = Rhythm(poll / timedelta(hours=1), open_share(policy.windows), ATTEMPT_H)
    found = forecast(legs, rhythm, policy.pacing)
    return {
        "days_to_95_percent": _days(found.mostly_h),
        "stage_opens_day": [_days(hours) for hours in found.opens_h],
        "assumes": [
            f"devices poll every {rhythm.poll_h:g} h, {rhythm.open_share:.0%} of the time inside the windows",
            f"gates hold, people agree at once, and an attempt takes {ATTEMPT_H * 60:g} minutes",
            "devices hold what their version says, take glp1 patches, want all components, and can stage a version",
            "penalties and open attempts of other rollouts are left aside",
        ],
    }


def _days(hours: float | None) -> float | None:
    return None if hours is None else round(hours / 24, 2)


def open_share(windows: Windows | None) -> float:
    """Of a week, how much lies inside the windows, overlaps counted twice."""
    if windows is None:
        return 1.0
    minutes = sum(daily.minutes * len(daily.days) for daily in windows.daily)
    return min(1.0, minutes / (7 * 24 * 60))


def _warnings(row: store.rollouts.RolloutRow, stages: Sequence[Tally], known: dict[str, Any]) -> list[str]:
    """What a person should look at before `start`."""
    found = []
    for place, (stage, tally) in enumerate(zip(row.stages, stages, strict=True), 1):
        wanted = hold_of(stage.hold).reports
        if tally.devices < max(wanted, 1):
            found.append(
                f"stage {place} takes fewer devices ({tally.devices}) than it waits for reports ({wanted}): "
                "it will not end by itself"
            )
    if known["uncounted"]:
        found.append(f"devices too different from each other to be counted here: {known['uncounted']}")
    if known["silent"] * 20 > known["devices"]:
        found.append(
            f"devices not heard of for {SILENT_AFTER.days} days: {known['silent']} of {known['devices']}"
        )
    if known["bare"] * 20 > known["devices"]:
        found.append(f"devices that have told no attributes, and that few rules match: {known['bare']}")
    return found
