"""Previews: what a rollout would do to the fleet, decided by the code that decides polls.

The database counts the fleet in groups (`store.fleet.groups`), and each group is decided once (`domain.fleet.preview`).
Attempts and events are not read, so the cost does not grow with the age of the service.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.catalog import ModelView, Rollout
from service.domain.fleet.grouping import Grouping, grouping_for
from service.domain.fleet.preview import (
    DeviceGroup,
    GroupOutcome,
    by_stage,
    fully_opened,
    preview_group,
    representative_device,
)
from service.domain.polling.decisions import DecisionTime
from service.domain.rollouts.windows import DEVICE
from service.errors import VersionNotReady
from service.serving.polls.context import select_model
from service.serving.polls.explainer import PATCH_FORMATS
from service.serving.previews import sections
from service.serving.snapshots.loader import rollout_view
from service.serving.snapshots.rollout_indexes import RememberedIndexes
from service.serving.snapshots.snapshot import Snapshot
from service.store.fleet import groups

LOCAL_TIME_ATTRIBUTES = ("timezone", "utc_offset_min")
"""Attributes that `domain.rollouts.windows` computes a device's local time from."""
DEVICE_CLASS_ATTRIBUTES = ("soc", "ram_mb", "os", "os_version", "app_version")
"""Attributes that `domain.targeting.device_classes` computes a device's class from."""


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """The settings that previews depend on.

    Attributes:
        poll_interval: the usual time between two polls of a device.
        patch_wait: how long a device waits for a patch before it gets the full file.
    """

    poll_interval: timedelta
    patch_wait: timedelta


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """What the decisions of a preview depend on.

    Attributes:
        model: the model, with the rollout and those that are decided before it.
        rollout: the rollout with all its stages open.
        grouping: groups of devices that all rules treat alike.
    """

    model: ModelView
    rollout: Rollout
    grouping: Grouping


def preview(
    session: Session,
    snapshot: Snapshot,
    row: store.rollouts.RolloutRow,
    *,
    now: datetime,
    settings: PreviewSettings,
    listed_devices: int,
) -> dict[str, Any]:
    """Which devices a rollout reaches, how they download, how many bytes, how long it takes.

    Args:
        session: a `read_only` session.
        snapshot: what polls are decided from.
        row: the rollout, stored or not.
        now: the current time.
        settings: the settings that previews depend on.
        listed_devices: how many device ids of the first stage to list.

    Raises:
        VersionNotReady: the snapshot does not contain the version or a cohort.
    """
    context = _context(session, snapshot, row)
    time = DecisionTime(now, now - settings.patch_wait)
    counted = groups.count_groups(
        session, context.grouping, model=row.model, silent_since=now - sections.SILENT_AFTER
    )
    outcomes = _outcomes(context, counted.groups, time)
    first = [group for group, item in zip(counted.groups, outcomes, strict=True) if item.stage == 0]
    stages = by_stage(context.rollout, outcomes)
    never_polled = (
        groups.count_entitled(session, row.model) - _count_entitled(counted.groups) - counted.uncounted
    )
    fleet = sections.fleet(outcomes, uncounted=counted.uncounted, never_polled=never_polled)
    return {
        "rollout": row.name,
        "model": row.model,
        "version": context.rollout.version.label,
        "salt": row.salt,
        "fleet": fleet,
        "stages": sections.stages(context.rollout, stages),
        "versions": sections.versions(outcomes),
        "download": sections.download(outcomes),
        "forecast": sections.forecast(row, stages, settings.poll_interval),
        "warnings": sections.warnings(row, stages, fleet),
        "devices": groups.first_ids(session, context.grouping, first, model=row.model, limit=listed_devices),
    }


def _context(session: Session, snapshot: Snapshot, row: store.rollouts.RolloutRow) -> PreviewContext:
    model = select_model(snapshot, row.model)
    versions = {version.id: version for version in model.versions.values()}
    if row.version_id not in versions or not all(stage.cohort in snapshot.cohorts for stage in row.stages):
        raise VersionNotReady(
            "the version or one of the cohorts is not in the snapshot yet; try again in a few seconds",
            field="version",
        )
    predicates = {name: cohort.matches for name, cohort in snapshot.cohorts.items()}
    live = next((rollout for rollout in model.rollouts if rollout.id == row.id), None)
    rollout = fully_opened(live or rollout_view(row, versions[row.version_id], predicates))
    earlier = {other.id for other in store.rollouts.live(session) if _precedes(other, row, model)}
    rollouts = (*(other for other in model.rollouts if other.id in earlier), rollout)
    return PreviewContext(
        model=replace(model, rollouts=rollouts),
        rollout=rollout,
        grouping=_grouping(session, row.model, rollouts),
    )


def _precedes(other: store.rollouts.RolloutRow, row: store.rollouts.RolloutRow, model: ModelView) -> bool:
    """Whether polls try `other` first, in the order of `store.rollouts.live`; an unstored rollout is the newest."""
    if other.model != row.model or other.id == row.id:
        return False
    counters = {version.id: version.counter for version in model.versions.values()}
    rank, other_rank = ((item.priority, counters.get(item.version_id, 0)) for item in (row, other))
    if other_rank != rank or row.created_at is None:
        return other_rank > rank
    return other.created_at > row.created_at


def _grouping(session: Session, model: str, rollouts: Sequence[Rollout]) -> Grouping:
    stages = [{"cohort": stage.cohort} for rollout in rollouts for stage in rollout.stages]
    return grouping_for(
        [*stages, *store.versions.selectors(session, model)],
        {row.name: row.rule for row in store.cohorts.cohorts(session)},
        listed=store.cohorts.listed_cohorts(session),
        percents={rollout.salt: _percents(rollout) for rollout in rollouts},
        whole={name for rollout in rollouts for name in _implicit_attributes(rollout)},
    )


def _percents(rollout: Rollout) -> list[float]:
    return [*(stage.percent for stage in rollout.stages), 100 - rollout.policy.holdout_percent]


def _implicit_attributes(rollout: Rollout) -> tuple[str, ...]:
    """Attributes that a decision depends on although no rule names them."""
    windows = rollout.policy.windows
    local_time = LOCAL_TIME_ATTRIBUTES if windows is not None and windows.zone == DEVICE else ()
    return (*local_time, *DEVICE_CLASS_ATTRIBUTES) if rollout.paused_classes else local_time


def _outcomes(
    context: PreviewContext, counted: Sequence[groups.DeviceGroup], time: DecisionTime
) -> list[GroupOutcome]:
    indexes = RememberedIndexes(context.model.rollouts)
    return [
        preview_group(context.model, context.rollout, _device_group(context.grouping, group), time, indexes)
        for group in counted
    ]


def _device_group(grouping: Grouping, group: groups.DeviceGroup) -> DeviceGroup:
    device = representative_device(
        grouping, group.example, group.codes, group.version, accepts=PATCH_FORMATS, status=group.status
    )
    return DeviceGroup(device, group.devices, group.is_served, group.silent, group.without_attributes)


def _count_entitled(counted: Sequence[groups.DeviceGroup]) -> int:
    return sum(group.devices for group in counted if group.is_served and group.status != "decommissioned")
