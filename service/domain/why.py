"""Why a device gets what it gets: the poll's own decision, and how each rollout came to its part of it."""

from dataclasses import dataclass

from sdk_contract.wire import Reason
from service.domain.catalogue import Line, Rollout, Stage
from service.domain.cohorts import admits, bucket
from service.domain.offers import Decision, Facts, When, ask, decide


@dataclass(frozen=True, slots=True)
class StageTrace:
    """How one stage sees the device.

    Attributes:
        in_cohort: the cohort's rule or list means it.
        in_percent: its bucket is below the stage's percentage.
        open: the rollout has come this far.
    """

    cohort: str
    percent: float
    in_cohort: bool
    in_percent: bool
    open: bool


@dataclass(frozen=True, slots=True)
class RolloutTrace:
    """How one rollout sees the device.

    Attributes:
        reason: what the poll would say if this were the only rollout.
        bucket: 0 to 9999; a stage of p percent takes those below 100 p.
    """

    rollout: str
    version: str
    state: str
    reason: Reason
    bucket: int
    stages: tuple[StageTrace, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole of it, rollouts in the order in which they are asked."""

    decision: Decision
    rollouts: tuple[RolloutTrace, ...]


def explain(line: Line, facts: Facts, when: When) -> Explanation:
    """Decide as a poll does, and show the way there; arguments as for `offers.decide`."""
    current = line.versions.get(facts.current or "")
    traces = tuple(
        _trace(rollout, facts, ask(line, rollout, current, facts, when)) for rollout in line.rollouts
    )
    return Explanation(decide(line, facts, when), traces)


def _trace(rollout: Rollout, facts: Facts, decision: Decision) -> RolloutTrace:
    place = bucket(rollout.salt, facts.device_id)
    reached = len(rollout.stages) if rollout.state == "completed" else rollout.stage + 1
    return RolloutTrace(
        rollout=rollout.name,
        version=rollout.version.label,
        state=rollout.state,
        reason=decision.reason,
        bucket=place,
        stages=tuple(
            _stage(stage, facts, place, open_=index < reached) for index, stage in enumerate(rollout.stages)
        ),
    )


def _stage(stage: Stage, facts: Facts, place: int, *, open_: bool) -> StageTrace:
    matches = stage.matches(facts.device_id, facts.attributes)
    return StageTrace(stage.cohort, stage.percent, matches, admits(stage.percent, place), open_)
