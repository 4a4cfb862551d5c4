"""Bodies of the admin API that say why a device gets what it gets."""

from datetime import datetime
from typing import Any

from service.api.schemas.base import View


class ClauseView(View):
    """One test of a rule, and the value that the device has; below `not` it should not hold."""

    path: str
    test: str
    holds: bool
    seen: Any


class StageTraceView(View):
    """How one stage sees a device."""

    cohort: str
    percent: float
    in_cohort: bool
    in_percent: bool
    open: bool
    clauses: list[ClauseView]


class WindowTraceView(View):
    """How a rollout's windows see a device: whose clock counts, what it shows, when they open next."""

    zone: str
    source: str
    local_time: str
    open: bool
    next_opening: datetime | None


class VariantTraceView(View):
    """How one build sees a device."""

    variant: str
    priority: int
    matches: bool
    chosen: bool
    clauses: list[ClauseView]


class PacingView(View):
    """Where a paced rollout stands."""

    max_open_downloads: int | None
    downloading: int | None
    max_bytes_per_hour: int | None
    bytes_last_hour: int


class FailureLimitView(View):
    """How often the device failed the version as things are; `may_retry`: it failed it before, and may try again."""

    failures: int
    allowed: int
    may_retry: bool


class GateTraceView(View):
    """What the gates make of a rollout, and of the device's class in it.

    Attributes:
        device_class: the class of device under which it is counted.
        paused: that class alone is held back.
        decision, reason, at: of the newest verdict; absent before there is one.
        waiting_for: what the rollout waits for, in words.
        said: the reason that was given with the last verb.
    """

    device_class: str
    paused: bool
    decision: str | None = None
    reason: str | None = None
    at: datetime | None = None
    waiting_for: str = ""
    said: str = ""


class RolloutTraceView(View):
    """How one rollout sees a device.

    Attributes:
        reason: what the poll would say if this were the only rollout.
        bucket: 0 to 9999; a stage of p percent takes those below 100 p.
        stage: index of the last open stage.
        floor: the counter below which the device may not go.
        barrier: the version that the device has to run first.
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
    """What the device's next poll would say, and why.

    Attributes:
        runs: the version that it last said it runs.
        attributes: what cohorts and variants see, an operator's word over its own.
        again_at: when it will be worth asking again, where that is known.
    """

    device_id: str
    model: str
    runs: str | None
    status: str
    attributes: dict[str, Any]
    reason: str
    action: str
    version: str | None
    variant: str | None
    rollout: str | None
    again_at: datetime | None
    rollouts: list[RolloutTraceView]
