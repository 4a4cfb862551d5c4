"""Response bodies of the explanation of a device's next poll."""

from datetime import datetime
from typing import Any

from service.api.schemas.base import View


class ClauseView(View):
    """A clause of a rule.

    Attributes:
        path: where the clause stands: the cohort, then the path through its rule.
        test: the test as its author wrote it.
        matches: whether the device passes the test; inside `not` it should fail.
        value: value of the attribute on the device; null if it has none.
    """

    path: str
    test: str
    matches: bool
    value: Any


class StageTraceView(View):
    """The evaluation of a stage for the device.

    Attributes:
        in_percent: whether the bucket of the device is below the percentage.
        open: whether the rollout has opened the stage.
    """

    cohort: str
    percent: float
    in_cohort: bool
    in_percent: bool
    open: bool
    clauses: list[ClauseView]


class WindowTraceView(View):
    """The evaluation of a rollout's update windows for the device.

    Attributes:
        zone: time zone in which the windows are evaluated.
        source: where the zone comes from.
        local_time: current time in that zone.
    """

    zone: str
    source: str
    local_time: str
    open: bool
    next_opening: datetime | None


class VariantTraceView(View):
    """The evaluation of a variant for the device."""

    variant: str
    priority: int
    matches: bool
    chosen: bool
    clauses: list[ClauseView]


class PacingView(View):
    """The pacing limits of a rollout and their current use.

    Attributes:
        downloading: number of open downloads.
    """

    max_open_downloads: int | None
    downloading: int | None
    max_bytes_per_hour: int | None
    bytes_last_hour: int


class FailureLimitView(View):
    """The failures of the device with the version.

    Attributes:
        failures: how often the device failed under its current conditions.
        max_failures: number of failures after which it is no longer offered the version.
        may_retry: whether it has failed the version before and may retry, because its conditions have changed.
    """

    failures: int
    max_failures: int
    may_retry: bool


class GateTraceView(View):
    """The state of a rollout's gates.

    Attributes:
        device_class: device class in which the device is counted.
        paused: whether the rollout is paused for that class.
        decision: decision of the newest gate evaluation; absent if there is none yet.
        reason: reason of that decision.
        at: time of that evaluation.
        waiting_for: what the rollout waits for, as text.
        last_action_reason: reason that an operator gave for the last action.
    """

    device_class: str
    paused: bool
    decision: str | None = None
    reason: str | None = None
    at: datetime | None = None
    waiting_for: str = ""
    last_action_reason: str = ""


class RolloutTraceView(View):
    """The evaluation of one rollout for the device.

    Attributes:
        reason: reason that the poll would return if this were the only rollout.
        bucket: bucket of the device, 0 to 9999; a stage of p percent includes the buckets below 100 p.
        stage: index of the last open stage.
        floor: lowest counter that the device may install.
        barrier: label of the version that the device must install first.
    """

    rollout: str
    version: str
    state: str
    reason: str
    bucket: int
    stage: int
    stages: list[StageTraceView]
    holdout_percent: float
    in_holdout: bool
    floor: int
    barrier: str | None
    gate: GateTraceView
    window: WindowTraceView | None
    variants: list[VariantTraceView]
    pacing: PacingView | None
    failure_limit: FailureLimitView | None


class WhyView(View):
    """The decision on the device's next poll, and its explanation.

    Attributes:
        current_version: label of the version that it last reported.
        status: status of the device.
        attributes: reported attributes, overridden by those that an operator set.
        retry_at: when the decision may change, if that is known.
    """

    device_id: str
    model: str
    current_version: str | None
    status: str
    attributes: dict[str, Any]
    reason: str
    action: str
    version: str | None
    variant: str | None
    rollout: str | None
    retry_at: datetime | None
    rollouts: list[RolloutTraceView]
