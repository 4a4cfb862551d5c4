"""The evaluation of a single gate on the counts so far.

Gates fail closed: without enough reports the status is `insufficient_data`. `stage_evaluation` decides what follows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.domain.gates import evidence
from service.domain.gates.definitions import Gate, MetricGate, RateGate
from service.domain.gates.metrics import ArmMoments, Moments
from service.domain.gates.outcome_counts import OutcomeCounts

MIN_FAILURES = 2
"""A single failure is an accident, even if no failure is allowed."""

GateStatus = Literal["pass", "insufficient_data", "inconclusive", "breach"]
"""`inconclusive`: the value is beyond the bound, and the evidence is not convincing yet."""
CohortClass = tuple[str, str]
"""(cohort, device class): devices are compared with similar devices."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate concludes from the counts.

    Attributes:
        metric: name of the rate or metric.
        status: the conclusion.
        value: the rate, the geometric mean, or the change against control (0.1 for 10 % more); None without data.
        bound: what `value` is compared with.
        reports: number of outcomes, or of devices with the version that reported the metric.
        control: number of control devices that reported the metric.
        evidence: logarithm of the evidence that the bound is exceeded.
        threshold: the evidence that is convincing.
        summary: one sentence that explains the status.
        device_class: the device class that was evaluated; "" for the whole fleet.
    """

    metric: str
    status: GateStatus
    value: float | None
    bound: float
    reports: int
    control: int
    evidence: float
    threshold: float
    summary: str
    device_class: str = ""


def evaluate_gate(
    gate: Gate, counts: OutcomeCounts, values: Mapping[CohortClass, ArmMoments], alpha: float
) -> GateResult:
    """Evaluate a gate; evaluating often does not raise the rate of false alarms (see `evidence`).

    Args:
        gate: the gate.
        counts: outcomes, for gates on rates.
        values: measured values, for gates on metrics.
        alpha: probability that the gate is ever in breach although its bound holds.
    """
    threshold = -math.log(alpha)
    if isinstance(gate, RateGate):
        return _evaluate_rate(gate, counts, threshold)
    if gate.against_control:
        return _evaluate_change(gate, values, threshold)
    return _evaluate_mean(gate, values, threshold)


def _evaluate_rate(gate: RateGate, counts: OutcomeCounts, threshold: float) -> GateResult:
    failures, reports = counts.failures_for(gate.metric), counts.reports
    found = evidence.rate_evidence(failures, reports, gate.max)
    if not reports:
        summary = f"{gate.metric}: no reports"
        return GateResult(gate.metric, "insufficient_data", None, gate.max, 0, 0, found, threshold, summary)
    rate = failures / reports
    status: GateStatus = "inconclusive" if rate > gate.max else "pass"
    if failures >= MIN_FAILURES and found >= threshold:
        status = "breach"
    relation = "within" if status == "pass" else "above"
    summary = f"{gate.metric} {failures}/{reports} is {relation} {gate.max:.2%}"
    return GateResult(gate.metric, status, rate, gate.max, reports, 0, found, threshold, summary)


def _evaluate_mean(
    gate: MetricGate, values: Mapping[CohortClass, ArmMoments], threshold: float
) -> GateResult:
    """Compare the geometric mean with a fixed bound."""
    moments = Moments()
    for arms in values.values():
        moments = moments.plus(arms.treatment)
    if moments.count < gate.min_values:
        return _insufficient_data(gate, moments.count, 0, threshold)
    variance = moments.sum_of_squares / (moments.count - 1)
    excess = _sign(gate) * (moments.mean - math.log(gate.bound))
    found = evidence.mean_evidence(excess, variance / moments.count, variance / evidence.TUNED_SAMPLE_SIZE)
    status = _status(found, threshold, excess)
    value = moments.geometric_mean
    summary = _summary(gate, status, f"{value:.4g} for {moments.count:,} devices")
    return GateResult(gate.metric, status, value, gate.bound, moments.count, 0, found, threshold, summary)


def _evaluate_change(
    gate: MetricGate, values: Mapping[CohortClass, ArmMoments], threshold: float
) -> GateResult:
    """Compare both arms within each cohort and device class, since these fill at different speeds in the two arms."""
    both = [arms for arms in values.values() if arms.treatment.count and arms.control.count]
    treatment, control = sum(arms.treatment.count for arms in both), sum(arms.control.count for arms in both)
    if min(treatment, control) < gate.min_values:
        return _insufficient_data(gate, treatment, control, threshold)
    variances = _variance([arms.treatment for arms in both]), _variance([arms.control for arms in both])
    difference, information = _weighted_difference(both, *variances)
    bound = _signed_bound(gate)
    excess = _sign(gate) * (difference - math.log1p(bound))
    found = evidence.mean_evidence(excess, 1 / information, sum(variances) / evidence.TUNED_SAMPLE_SIZE)
    status = _status(found, threshold, excess)
    change = math.expm1(difference)
    text = f"{change:+.1%} against control ({treatment:,} and {control:,} devices)"
    summary = _summary(gate, status, text)
    return GateResult(gate.metric, status, change, bound, treatment, control, found, threshold, summary)


def _weighted_difference(
    both: Sequence[ArmMoments], treatment_variance: float, control_variance: float
) -> tuple[float, float]:
    """Return the difference of the means and its information, with each part weighted by its information.

    The weighted sum is a Brownian motion, as each difference is.
    """
    drift = information = 0.0
    for arms in both:
        variance = treatment_variance / arms.treatment.count + control_variance / arms.control.count
        drift += (arms.treatment.mean - arms.control.mean) / variance
        information += 1 / variance
    return drift / information, information


def _variance(parts: Sequence[Moments]) -> float:
    """Return the variance of single values around the mean of their own part."""
    degrees_of_freedom = sum(part.count - 1 for part in parts)
    return sum(part.sum_of_squares for part in parts) / max(degrees_of_freedom, 1)


def _status(found: float, threshold: float, excess: float) -> GateStatus:
    if found >= threshold:
        return "breach"
    return "inconclusive" if excess > 0 else "pass"


def _summary(gate: MetricGate, status: GateStatus, text: str) -> str:
    relation = "within" if status == "pass" else "above" if gate.bad_direction == "up" else "below"
    bound = _signed_bound(gate)
    limit = f"{bound:+.1%}" if gate.against_control else f"{bound:.4g}"
    return f"{gate.metric} is {text}, {relation} {limit}"


def _sign(gate: MetricGate) -> int:
    return 1 if gate.bad_direction == "up" else -1


def _signed_bound(gate: MetricGate) -> float:
    """Return the bound on the scale of the value: an allowed decrease is negative."""
    return _sign(gate) * gate.bound if gate.against_control else gate.bound


def _insufficient_data(gate: MetricGate, treatment: int, control: int, threshold: float) -> GateResult:
    against = f" and {control:,} of control" if gate.against_control else ""
    summary = f"{gate.metric}: {treatment:,}{against} of {gate.min_values:,} values"
    bound = _signed_bound(gate)
    return GateResult(
        gate.metric, "insufficient_data", None, bound, treatment, control, 0.0, threshold, summary
    )
