"""Why a device gets what it gets: the decision of its poll, and how each rollout contributed to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.reasons import Reason
from service.domain.catalog import ModelView, Rollout, Stage
from service.domain.polling.decisions import Decision, DecisionTime, DeviceContext
from service.domain.polling.deliveries import choose_variant
from service.domain.polling.eligibility import is_in_holdout, next_barrier
from service.domain.polling.offers import decide, evaluate_rollout
from service.domain.rollouts.windows import local_time, next_opening
from service.domain.targeting.buckets import admits, bucket
from service.domain.targeting.clauses import Clause, clauses_of_cohort, clauses_of_rule
from service.domain.targeting.cohorts import Cohort


@dataclass(frozen=True, slots=True)
class StageTrace:
    """How one stage sees the device.

    Attributes:
        cohort: name of the stage's cohort.
        percent: percentage of the stage.
        in_cohort: the cohort's rule or list includes the device.
        in_percent: the device's bucket is below the percentage.
        open: the rollout has reached this stage.
        clauses: clauses of the cohort, with the device's values.
    """

    cohort: str
    percent: float
    in_cohort: bool
    in_percent: bool
    open: bool
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class WindowTrace:
    """How a rollout's windows see the device.

    Attributes:
        zone: the time zone that counts.
        source: where the time zone comes from.
        local_time: weekday and time in that zone.
        open: a window is open now.
        next_opening: when the next window opens; None while one is open.
    """

    zone: str
    source: str
    local_time: str
    open: bool
    next_opening: datetime | None


@dataclass(frozen=True, slots=True)
class VariantTrace:
    """How one variant sees the device; the matching variant of highest priority is chosen.

    Attributes:
        variant: name of the variant.
        priority: priority of the variant.
        matches: its selector matches the device.
        chosen: the device would get this variant.
        clauses: clauses of the selector, with the device's values.
    """

    variant: str
    priority: int
    matches: bool
    chosen: bool
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class RolloutTrace:
    """How one rollout sees the device.

    Attributes:
        rollout: name of the rollout.
        version: label of its version.
        state: its state.
        decision: what it decides regardless of other rollouts, before the database limits offers.
        bucket: the device's bucket, 0 to 9999; a stage of p percent admits buckets below 100 p.
        stage: index of the last open stage.
        stages: how each stage sees the device.
        holdout_percent: share of the buckets, from the top, that the rollout never serves.
        in_holdout: the device is in that share.
        floor: the lowest counter that the device may go to.
        barrier: label of the version that the device must run first; None if there is none.
        window: how the windows see the device; None without windows.
        variants: how each variant sees the device.
    """

    rollout: str
    version: str
    state: str
    decision: Decision
    bucket: int
    stage: int
    stages: tuple[StageTrace, ...]
    holdout_percent: float
    in_holdout: bool
    floor: int
    barrier: str | None
    window: WindowTrace | None
    variants: tuple[VariantTrace, ...]

    @property
    def reason(self) -> Reason:
        """The reason of `decision`."""
        return self.decision.reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and the trace of each rollout in the order in which they are evaluated."""

    decision: Decision
    rollouts: tuple[RolloutTrace, ...]


def explain(
    model: ModelView, device: DeviceContext, time: DecisionTime, cohorts: Mapping[str, Cohort]
) -> Explanation:
    """Decide as for a poll, and trace every rollout.

    Args:
        model: the model, as of the snapshot.
        device: the device.
        time: the time of the decision.
        cohorts: name -> cohort, as of the snapshot.
    """
    traces = tuple(_trace(model, rollout, device, time, cohorts) for rollout in model.rollouts)
    return Explanation(decide(model, device, time), traces)


def _trace(
    model: ModelView,
    rollout: Rollout,
    device: DeviceContext,
    time: DecisionTime,
    cohorts: Mapping[str, Cohort],
) -> RolloutTrace:
    current = model.versions.get(device.current or "")
    device_bucket = bucket(rollout.salt, device.device_id)
    open_stages = len(rollout.stages) if rollout.state == "completed" else rollout.stage + 1
    barrier = next_barrier(model, current, device)
    return RolloutTrace(
        rollout=rollout.name,
        version=rollout.version.label,
        state=rollout.state,
        decision=evaluate_rollout(model, rollout, current, device, time),
        bucket=device_bucket,
        stage=open_stages - 1,
        stages=tuple(
            _trace_stage(stage, device, device_bucket, cohorts, is_open=index < open_stages)
            for index, stage in enumerate(rollout.stages)
        ),
        holdout_percent=rollout.policy.holdout_percent,
        in_holdout=is_in_holdout(rollout, device.device_id),
        floor=current.floor if current is not None else 0,
        barrier=barrier.label if barrier and barrier.counter < rollout.version.counter else None,
        window=_trace_window(rollout, device, time),
        variants=_trace_variants(rollout, device),
    )


def _trace_stage(
    stage: Stage, device: DeviceContext, device_bucket: int, cohorts: Mapping[str, Cohort], *, is_open: bool
) -> StageTrace:
    return StageTrace(
        cohort=stage.cohort,
        percent=stage.percent,
        in_cohort=stage.matches(device.device_id, device.attributes),
        in_percent=admits(stage.percent, device_bucket),
        open=is_open,
        clauses=clauses_of_cohort(stage.cohort, cohorts, device.device_id, device.attributes),
    )


def _trace_window(rollout: Rollout, device: DeviceContext, time: DecisionTime) -> WindowTrace | None:
    windows = rollout.policy.windows
    if windows is None:
        return None
    clock = local_time(windows, device.attributes)
    opening = next_opening(windows, device.attributes, time.now)
    return WindowTrace(
        zone=clock.name,
        source=clock.source,
        local_time=time.now.astimezone(clock.zone).strftime("%a %H:%M"),
        open=opening is None,
        next_opening=opening.opens_at if opening else None,
    )


def _trace_variants(rollout: Rollout, device: DeviceContext) -> tuple[VariantTrace, ...]:
    chosen = choose_variant(rollout.version, device)
    return tuple(
        VariantTrace(
            variant=variant.name,
            priority=variant.priority,
            matches=variant.matches(device.device_id, device.attributes),
            chosen=variant is chosen,
            clauses=clauses_of_rule(variant.selector, variant.name, device.device_id, device.attributes),
        )
        for variant in rollout.version.variants
    )
