"""The evaluation of a stage: whether the rollout advances, waits or is in breach, and which device classes fail.

Of the 5 % of good rollouts that may ever be stopped or paused by mistake, 4 % go to the whole fleet and 1 % is shared
by all device classes; both are divided equally among the gates.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from service.domain.gates import evidence
from service.domain.gates.definitions import Gate, MetricGate, StageRequirements
from service.domain.gates.gate_evaluation import GateResult, GateStatus, evaluate_gate
from service.domain.gates.observations import Observations
from service.domain.gates.outcome_counts import OutcomeCounts
from service.domain.targeting.device_classes import MAX_DEVICE_CLASSES

StageDecision = Literal["advance", "wait", "breach"]

ALPHA_FLEET = 0.04
ALPHA_DEVICE_CLASSES = 0.01
ALPHA_SAMPLE_RATIO = 0.01
"""Probability that a comparison ever waits because the arms seem to be divided wrongly; this stops no rollout."""
APPROVAL = "approval"
"""The cause if only a person's promotion is missing."""
MIN_OTHER_REPORTS = 20
"""Reports from the other device classes before one class is found to fail instead of the version."""

_BY_SEVERITY: tuple[GateStatus, ...] = ("breach", "inconclusive")


@dataclass(frozen=True, slots=True)
class ActiveStage:
    """The stage that is evaluated.

    Attributes:
        index: its index in the rollout.
        gates: its gates.
        requirements: what must have happened before the rollout advances.
        age: time since the stage began.
    """

    index: int
    gates: Sequence[Gate]
    requirements: StageRequirements
    age: timedelta


@dataclass(frozen=True, slots=True)
class StageEvaluation:
    """The result of evaluating a stage.

    Attributes:
        decision: what the rollout does.
        reason: one sentence that explains it.
        cause: a code that stays the same while counts grow, such as `gate:failure_rate`, `minutes` or `reports`.
        gate_results: results of the gates on the device classes that are not paused.
        failing_classes: device class -> the gate result because of which it is to be paused.
        stage_counts: outcomes of the stage's own devices, without paused device classes.
    """

    decision: StageDecision
    reason: str
    cause: str = ""
    gate_results: tuple[GateResult, ...] = ()
    failing_classes: Mapping[str, GateResult] = field(default_factory=dict)
    stage_counts: OutcomeCounts = field(default_factory=OutcomeCounts)


@dataclass(frozen=True, slots=True)
class _Wait:
    """Something that the stage waits for."""

    reason: str
    cause: str


def evaluate_stage(
    stage: ActiveStage, observations: Observations, paused: Collection[str] = ()
) -> StageEvaluation:
    """Evaluate a stage; evaluating often does not raise the rate of false alarms.

    A device class fails if the evidence against it alone is convincing. If the whole fleet is in breach, less evidence
    against a class is enough, but then all gates must pass without it. In both cases the other classes must be large
    enough to show that the version itself is good; otherwise the version is in breach.

    Args:
        stage: the stage.
        observations: everything that was reported; gates see all stages together.
        paused: device classes that are paused already; their reports are left out.
    """
    rest = observations.without(paused)
    failing = _failing_classes(stage, rest)
    version_is_good = not failing or _others_suffice(observations, {*paused, *failing})
    if version_is_good:
        rest = rest.without(failing)
    results = _evaluate_gates(stage, rest, ALPHA_FLEET)
    counts = rest.total(stage=stage.index)
    breaches = [result for result in results if result.status == "breach"]
    if not version_is_good:
        breaches = breaches or list(failing.values())
    if breaches:
        cause = f"gate:{breaches[0].metric}"
        return StageEvaluation("breach", _describe(breaches[0]), cause, results, stage_counts=counts)
    wait = next(_waits(stage, rest, counts, results), None)
    if wait is not None:
        return StageEvaluation("wait", wait.reason, wait.cause, results, failing, counts)
    reason = f"{counts.reports} reports, all gates pass"
    return StageEvaluation("advance", reason, "all_passed", results, failing, counts)


def _evaluate_gates(
    stage: ActiveStage, observations: Observations, alpha: float, device_class: str = ""
) -> tuple[GateResult, ...]:
    """Evaluate every gate of the stage; the gates share `alpha`."""
    counts, alpha_each = observations.total(), alpha / max(len(stage.gates), 1)
    results = (
        evaluate_gate(gate, counts, observations.values.get(gate.metric, {}), alpha_each)
        for gate in stage.gates
    )
    return tuple(replace(result, device_class=device_class) for result in results)


def _failing_classes(stage: ActiveStage, observations: Observations) -> dict[str, GateResult]:
    """Return the device classes to pause, each with the result against it; none if there is only one class."""
    if len(observations.device_classes) <= 1:
        return {}
    failing = _classes_in_breach(stage, observations, ALPHA_DEVICE_CLASSES / (MAX_DEVICE_CLASSES + 1))
    if _worst_status(stage, observations) != "breach":
        return failing
    # A fault is certain. Less evidence is enough to locate it, but then all gates must pass without it.
    if _worst_status(stage, observations.without(failing)) != "pass":
        failing |= _classes_in_breach(stage, observations.without(failing), evidence.ALPHA)
    return failing if _worst_status(stage, observations.without(failing)) == "pass" else {}


def _worst_status(stage: ActiveStage, observations: Observations) -> GateStatus:
    """Return the worst status of the gates; `insufficient_data` counts as `pass`."""
    statuses = {result.status for result in _evaluate_gates(stage, observations, ALPHA_FLEET)}
    return next((status for status in _BY_SEVERITY if status in statuses), "pass")


def _classes_in_breach(stage: ActiveStage, observations: Observations, alpha: float) -> dict[str, GateResult]:
    found = {}
    for device_class, own in observations.by_device_class().items():
        results = _evaluate_gates(stage, own, alpha, device_class)
        breach = next((result for result in results if result.status == "breach"), None)
        if breach is not None:
            found[device_class] = breach
    return found


def _others_suffice(observations: Observations, excluded: Collection[str]) -> bool:
    """Whether the other classes have reported enough: a version that fails on most devices is bad itself."""
    others = observations.without(excluded).total().reports
    return others >= max(MIN_OTHER_REPORTS, observations.total().reports - others)


def _waits(
    stage: ActiveStage, observations: Observations, counts: OutcomeCounts, results: Sequence[GateResult]
) -> Iterator[_Wait]:
    """Everything that the stage waits for, the most important first."""
    required = stage.requirements
    yield from _wait_for_gate(results, "inconclusive", ", not yet certain")
    if stage.age < timedelta(minutes=required.minutes):
        yield _Wait(f"{required.minutes:g} minutes have not passed", "minutes")
    if counts.reports < required.reports:
        yield _Wait(f"{counts.reports} of {required.reports} reports", "reports")
    yield from _wait_for_gate(results, "insufficient_data", "")
    if counts.coverage < required.min_coverage:
        share = f"{counts.coverage:.1%} of the devices have reported"
        yield _Wait(f"{share}, {required.min_coverage:.0%} are required", "coverage")
    yield from _wait_for_sample_ratio(stage, observations)
    if required.approval:
        yield _Wait("waits for promote", APPROVAL)


def _wait_for_gate(results: Sequence[GateResult], status: GateStatus, suffix: str) -> Iterator[_Wait]:
    for result in results:
        if result.status == status:
            yield _Wait(result.summary + suffix, f"{status}:{result.metric}")


def _wait_for_sample_ratio(stage: ActiveStage, observations: Observations) -> Iterator[_Wait]:
    """The sample ratio check: the share of admitted devices must match the percentages.

    It applies only if a gate compares with control. Devices are counted by their admission and not by what they run: a
    device that updates slowly means nothing, a device that falls silent after its update does.
    """
    if not any(isinstance(gate, MetricGate) and gate.against_control for gate in stage.gates):
        return
    admissions = {share: counts for share, counts in observations.admissions.items() if 0 < share < 1}
    found = sum(
        evidence.sample_ratio_evidence(*counts, probability) for probability, counts in admissions.items()
    )
    if not evidence.is_convincing(found, ALPHA_SAMPLE_RATIO):
        return
    admitted = sum(counts[0] for counts in admissions.values())
    everyone = sum(map(sum, admissions.values()))
    expected = sum(probability * sum(counts) for probability, counts in admissions.items())
    yield _Wait(
        f"{admitted:,} of {everyone:,} devices that report metrics were admitted, about {expected:,.0f} were "
        "expected: do not trust the comparison",
        "sample_ratio",
    )


def _describe(result: GateResult) -> str:
    return f"{result.summary} on {result.device_class}" if result.device_class else result.summary
