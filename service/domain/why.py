"""Why a device gets what it gets: the poll's own decision, and how each rollout came to its part of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sdk_contract.wire import Reason
from service.domain.catalogue import Cohort, Line, Rollout, Stage
from service.domain.clauses import Clause, clauses_of_cohort, clauses_of_rule
from service.domain.cohorts import admits, bucket
from service.domain.decisions import Decision, Facts, When
from service.domain.deliveries import choose_variant
from service.domain.offers import ask, decide
from service.domain.reach import is_held_back, watershed
from service.domain.windows import local_time, opening


@dataclass(frozen=True, slots=True)
class StageTrace:
    """How one stage sees the device.

    Attributes:
        in_cohort: the cohort's rule or list means it.
        in_percent: its bucket is below the stage's percentage.
        open: the rollout has come this far.
        clauses: of the cohort, with the values that the device has.
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
        zone: whose clock counts.
        source: how that is known.
        local_time: what that clock shows.
        next_opening: absent while a window is open.
    """

    zone: str
    source: str
    local_time: str
    open: bool
    next_opening: datetime | None


@dataclass(frozen=True, slots=True)
class VariantTrace:
    """How one build sees the device; the one of highest priority that matches is chosen."""

    variant: str
    priority: int
    matches: bool
    chosen: bool
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class RolloutTrace:
    """How one rollout sees the device.

    Attributes:
        decision: what the rollout would decide if it were the only one, before `grants` is asked.
        bucket: 0 to 9999; a stage of p percent takes those below 100 p.
        stage: index of the last open stage.
        holdback_percent: buckets from the top that it never serves.
        floor: the counter below which the device may not go.
        watershed: label of the version that the device has to run first.
    """

    rollout: str
    version: str
    state: str
    decision: Decision
    bucket: int
    stage: int
    stages: tuple[StageTrace, ...]
    holdback_percent: float
    held_back: bool
    floor: int
    watershed: str | None
    window: WindowTrace | None
    variants: tuple[VariantTrace, ...]

    @property
    def reason(self) -> Reason:
        """What the poll would say if this were the only rollout, before `grants` is asked."""
        return self.decision.reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole of it, rollouts in the order in which they are asked."""

    decision: Decision
    rollouts: tuple[RolloutTrace, ...]


def explain(line: Line, facts: Facts, when: When, cohorts: Mapping[str, Cohort]) -> Explanation:
    """Decide as a poll does, and show the way there.

    Args:
        line: the model, as of the snapshot.
        facts: what is known of the device.
        when: the moment.
        cohorts: as of the snapshot.
    """
    traces = tuple(_trace(line, rollout, facts, when, cohorts) for rollout in line.rollouts)
    return Explanation(decide(line, facts, when), traces)


def _trace(
    line: Line, rollout: Rollout, facts: Facts, when: When, cohorts: Mapping[str, Cohort]
) -> RolloutTrace:
    current = line.versions.get(facts.current or "")
    place = bucket(rollout.salt, facts.device_id)
    reached = len(rollout.stages) if rollout.state == "completed" else rollout.stage + 1
    step = watershed(line, current, facts)
    return RolloutTrace(
        rollout=rollout.name,
        version=rollout.version.label,
        state=rollout.state,
        decision=ask(line, rollout, current, facts, when),
        bucket=place,
        stage=reached - 1,
        stages=tuple(
            _stage(stage, facts, place, cohorts, open_=index < reached)
            for index, stage in enumerate(rollout.stages)
        ),
        holdback_percent=rollout.policy.holdback_percent,
        held_back=is_held_back(rollout, facts.device_id),
        floor=current.floor if current is not None else 0,
        watershed=step.label if step is not None and step.counter < rollout.version.counter else None,
        window=_window(rollout, facts, when),
        variants=_variants(rollout, facts),
    )


def _stage(
    stage: Stage, facts: Facts, place: int, cohorts: Mapping[str, Cohort], *, open_: bool
) -> StageTrace:
    return StageTrace(
        cohort=stage.cohort,
        percent=stage.percent,
        in_cohort=stage.matches(facts.device_id, facts.attributes),
        in_percent=admits(stage.percent, place),
        open=open_,
        clauses=clauses_of_cohort(stage.cohort, cohorts, facts.device_id, facts.attributes),
    )


def _window(rollout: Rollout, facts: Facts, when: When) -> WindowTrace | None:
    windows = rollout.policy.windows
    if windows is None:
        return None
    clock, shut = local_time(windows, facts.attributes), opening(windows, facts.attributes, when.now)
    return WindowTrace(
        zone=clock.name,
        source=clock.source,
        local_time=when.now.astimezone(clock.zone).strftime("%a %H:%M"),
        open=shut is None,
        next_opening=shut.at if shut else None,
    )


def _variants(rollout: Rollout, facts: Facts) -> tuple[VariantTrace, ...]:
    chosen = choose_variant(rollout.version, facts)
    return tuple(
        VariantTrace(
            variant=variant.name,
            priority=variant.priority,
            matches=variant.matches(facts.device_id, facts.attributes),
            chosen=variant is chosen,
            clauses=clauses_of_rule(variant.selector, variant.name, facts.device_id, facts.attributes),
        )
        for variant in rollout.version.variants
    )
