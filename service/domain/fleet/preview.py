"""The effect of a rollout on the known fleet: one decision per device group, by the function that decides polls."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from service.domain.catalog import ModelView, Rollout
from service.domain.fleet.grouping import Grouping
from service.domain.polling.decisions import Decision, DecisionTime, DeviceContext
from service.domain.polling.offers import decide
from service.domain.polling.rollout_index import RolloutIndexes
from service.domain.rollouts.policy import Pacing

Path = Literal["patch", "mixed", "full", "keep"]
"""How a version gets to a device: by patches, partly by patches, by full files, or without a download."""
NOT_SERVED = "model_not_served"
OTHER_ROLLOUT = "other_rollout"
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Devices that get the same decision.

    Attributes:
        device: one of them, which represents all.
        devices: number of devices.
        served: they are enrolled for the model.
        silent: how many of them have not polled lately.
        without_attributes: how many of them report no attributes.
    """

    device: DeviceContext
    devices: int
    served: bool = True
    silent: int = 0
    without_attributes: int = 0


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """The decision on a group.

    Attributes:
        group: the group.
        reason: the reason of its polls, or why its polls are not answered.
        stage: index of the stage that reaches the group; None if no stage does.
        path: how the version gets to each device.
        bytes: bytes that each device downloads.
        memory: bytes of memory that applying the largest patch takes.
        waits: a patch for the group is being built, so devices that poll later download less.
    """

    group: DeviceGroup
    reason: str
    stage: int | None = None
    path: Path | None = None
    bytes: int = 0
    memory: int = 0
    waits: bool = False


@dataclass(slots=True)
class DeviceCounts:
    """Devices, counted in several ways.

    Attributes:
        devices: number of devices.
        bytes: bytes that they download in total.
        silent: how many have not polled lately.
        waiting_for_patch: how many would get a patch instead once the patches that are being built are ready.
        paths: path -> number of devices.
        current_versions: running version, None for none -> number of devices.
    """

    devices: int = 0
    bytes: int = 0
    silent: int = 0
    waiting_for_patch: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    current_versions: Counter[str | None] = field(default_factory=Counter)

    def add(self, outcome: GroupOutcome) -> None:
        """Add a group."""
        group = outcome.group
        self.devices += group.devices
        self.bytes += group.devices * outcome.bytes
        self.silent += group.silent
        self.waiting_for_patch += group.devices if outcome.waits else 0
        self.current_versions[group.device.current] += group.devices
        if outcome.path is not None:
            self.paths[outcome.path] += group.devices


def fully_opened(rollout: Rollout) -> Rollout:
    """Return the rollout with all stages open and without time limits: what it reaches in the end."""
    policy = replace(rollout.policy, starts_at=None, windows=None, pacing=Pacing())
    return replace(rollout, state="running", stage=len(rollout.stages) - 1, policy=policy)


def preview_group(
    model: ModelView, rollout: Rollout, group: DeviceGroup, time: DecisionTime, indexes: RolloutIndexes
) -> GroupOutcome:
    """Decide on a group.

    Args:
        model: the model with the previewed rollout and those that are evaluated before it.
        rollout: the previewed rollout, as `fully_opened` returns it.
        group: the group.
        time: the time of the decision.
        indexes: rollout indexes of `model`.
    """
    if not group.served:
        return GroupOutcome(group, NOT_SERVED)
    decision = decide(model, group.device, time, indexes)
    waits = decision.reason == "patch_building"
    if waits:
        # Devices wait for a limited time only, so the preview shows what they would get without waiting.
        without_wait = replace(time, patches_requested_since=_NEVER)
        decision = decide(model, group.device, without_wait, indexes)
    if not decision.offered:
        return GroupOutcome(group, decision.reason)
    if decision.rollout is None or decision.rollout.id != rollout.id:
        return GroupOutcome(group, OTHER_ROLLOUT if decision.rollout else decision.reason)
    return GroupOutcome(
        group,
        decision.reason,
        stage=decision.stage,
        path=path_of(decision),
        bytes=sum(delivery.bytes for delivery in decision.deliveries),
        memory=_largest_working_set(decision),
        waits=waits,
    )


def path_of(decision: Decision) -> Path:
    """Return how an offer gets to the device."""
    downloaded = [delivery for delivery in decision.deliveries if not delivery.keep]
    patched = [delivery for delivery in downloaded if delivery.patches]
    if not downloaded:
        return "keep"
    if len(patched) == len(downloaded):
        return "patch"
    return "mixed" if patched else "full"


def by_stage(rollout: Rollout, outcomes: Iterable[GroupOutcome]) -> list[DeviceCounts]:
    """Return, per stage, the devices that it reaches and no earlier stage does."""
    counts = [DeviceCounts() for _ in rollout.stages]
    for outcome in outcomes:
        if outcome.stage is not None:
            counts[outcome.stage].add(outcome)
    return counts


def by_version(outcomes: Iterable[GroupOutcome]) -> dict[str | None, tuple[DeviceCounts, Counter[str]]]:
    """Return running version -> the devices that are reached, and reason -> number of the others."""
    found: dict[str | None, tuple[DeviceCounts, Counter[str]]] = {}
    for outcome in outcomes:
        reached, not_reached = found.setdefault(outcome.group.device.current, (DeviceCounts(), Counter()))
        if outcome.stage is not None:
            reached.add(outcome)
        else:
            not_reached[outcome.reason] += outcome.group.devices
    return found


def percentile(values: Iterable[tuple[int, int]], share: float) -> int:
    """Return the smallest value that `share` of the weight does not exceed; 0 for no values.

    Args:
        values: (value, weight).
        share: 0.5 for the median.
    """
    ordered = sorted(values)
    target, cumulative = share * sum(weight for _, weight in ordered), 0
    for value, weight in ordered:
        cumulative += weight
        if cumulative >= target:
            return value
    return 0


def representative_device(
    grouping: Grouping,
    device_id: str,
    codes: Sequence[object],
    current: str | None,
    *,
    accepts: tuple[str, ...],
    status: str,
) -> DeviceContext:
    """Return a device that represents its group.

    Its id is real, and so are its bucket and its lists; its attributes are reduced to what the grouping keeps.
    """
    return DeviceContext(
        device_id=device_id,
        attributes=grouping.attributes(codes),
        current=current,
        components={},
        wanted_components=None,
        accepts=accepts,
        blocked_status=None if status == "accepted" else status,
        supports_deferred_activation=True,
    )


def _largest_working_set(decision: Decision) -> int:
    preferred = (delivery.patches[0] for delivery in decision.deliveries if delivery.patches)
    return max((patch.working_set for patch in preferred), default=0)
