import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.gates.definitions import RATES, MetricGate, RateGate
from service.domain.gates.gate_evaluation import evaluate_gate
from service.domain.gates.metrics import BUCKET_WIDTH, ArmMoments, Moments, histogram_bucket
from service.domain.gates.outcome_counts import OutcomeCounts
from service.domain.gates.stage_evaluation import ALPHA_FLEET

numbers = st.integers(0, 1000)
any_counts = st.builds(OutcomeCounts, numbers, numbers, numbers, numbers, numbers)


@given(any_counts, st.sampled_from(sorted(RATES)), st.floats(0, 1))
@settings(deadline=None)
def test_a_successful_report_never_causes_a_breach(counts, metric, bound):
    better = counts.plus(OutcomeCounts(committed=1))
    if evaluate_gate(RateGate(metric, bound), better, {}, 0.05).status == "breach":
        assert evaluate_gate(RateGate(metric, bound), counts, {}, 0.05).status == "breach"


LOAD_MS = MetricGate("load_ms", "up", 100.0, against_control=False)


def moments(value, count):
    """`count` times the same value."""
    number = histogram_bucket(value)
    return Moments(count, count * number, count * number * number)


def status_of(gate, treatment, control=()):
    control = control or Moments()
    return evaluate_gate(gate, OutcomeCounts(), {("c", "s"): ArmMoments(treatment, control)}, 0.05).status


def test_a_metric_gate_needs_enough_values():
    assert status_of(LOAD_MS, moments(5000, 99)) == "insufficient_data"
    assert status_of(LOAD_MS, moments(5000, 100)) == "breach"
    assert status_of(replace(LOAD_MS, min_values=20), moments(5000, 20)) == "breach"


def test_a_mean_can_be_bounded_above_or_below():
    assert status_of(LOAD_MS, moments(50, 500)) == "pass"
    slow = replace(LOAD_MS, bad_direction="down", bound=8.0)
    assert (status_of(slow, moments(4, 500)), status_of(slow, moments(16, 500))) == ("breach", "pass")


def test_a_mean_slightly_beyond_its_bound_is_inconclusive():
    wide = moments(50, 100).plus(moments(220, 100))
    assert status_of(LOAD_MS, wide) == "inconclusive"


def test_a_change_is_compared_with_control():
    gate = MetricGate("load_ms", "up", 0.1, against_control=True)
    assert status_of(gate, moments(130, 400), moments(100, 400)) == "breach"
    assert status_of(gate, moments(104, 400), moments(100, 400)) == "pass"
    assert status_of(gate, moments(130, 400), moments(100, 99)) == "insufficient_data"
    worse = MetricGate("quality", "down", 0.02, against_control=True)
    assert status_of(worse, moments(0.7, 400), moments(0.9, 400)) == "breach"
    assert status_of(worse, moments(0.9, 400), moments(0.7, 400)) == "pass"


def test_devices_are_compared_within_their_class():
    """Nearly all control devices are slow and nearly all others fast; within each class nothing changed."""
    gate = MetricGate("load_ms", "up", 0.05, against_control=True)
    values = {
        ("c", "slow"): ArmMoments(moments(900, 110), moments(900, 900)),
        ("c", "fast"): ArmMoments(moments(100, 900), moments(100, 110)),
    }
    found = evaluate_gate(gate, OutcomeCounts(), values, 0.05)
    assert found.status == "pass"
    assert found.value == pytest.approx(0, abs=1e-9)
    assert (found.reports, found.control) == (1010, 1010)


def test_classes_in_one_arm_only_are_ignored():
    gate = MetricGate("load_ms", "up", 0.05, against_control=True)
    values = {("c", "a"): ArmMoments(moments(900, 500)), ("c", "b"): ArmMoments(control=moments(100, 500))}
    assert (
        evaluate_gate(gate, OutcomeCounts(), values, 0.05).summary
        == "load_ms: 0 and 0 of control of 100 values"
    )


LOG_SD = math.sqrt(math.log(1.25))
"""Standard deviation of the logarithms of log-normal values with a coefficient of variation of 0.5."""


def breach_share(change, gate, per_arm=2000, runs=400, evaluate_every=20):
    """Share of runs in which the gate is ever in breach."""
    rng, breaches = np.random.default_rng(7), 0
    for _ in range(runs):
        treatment, control = _sums(rng, 7 + math.log(change), per_arm), _sums(rng, 7, per_arm)
        observed = (
            ArmMoments(Moments(n, *map(int, treatment[n - 1])), Moments(n, *map(int, control[n - 1])))
            for n in range(evaluate_every, per_arm + 1, evaluate_every)
        )
        breaches += any(
            evaluate_gate(gate, OutcomeCounts(), {("c", "s"): both}, ALPHA_FLEET).status == "breach"
            for both in observed
        )
    return breaches / runs


def _sums(rng, mean, count):
    buckets = np.floor(rng.normal(mean, LOG_SD, count) / BUCKET_WIDTH).astype(np.int64)
    return np.stack([buckets.cumsum(), (buckets * buckets).cumsum()], axis=1)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_equal_arms_rarely_breach_however_often_they_are_evaluated(direction):
    assert breach_share(1.0, MetricGate("m", direction, 0.0, against_control=True)) <= 0.05


def test_a_change_at_its_bound_rarely_breaches():
    assert breach_share(1.1, MetricGate("m", "up", 0.1, against_control=True)) <= 0.05


def test_a_change_of_ten_percent_is_found_with_two_thousand_devices_per_arm():
    assert breach_share(1.1, MetricGate("m", "up", 0.0, against_control=True)) >= 0.95
    assert breach_share(1.1, MetricGate("m", "up", 0.02, against_control=True)) >= 0.95
    assert breach_share(1 / 1.1, MetricGate("m", "down", 0.0, against_control=True)) >= 0.95


def test_a_mean_at_its_bound_rarely_breaches_and_one_beyond_it_does():
    at = math.exp(7 + BUCKET_WIDTH / 2 - BUCKET_WIDTH / 2)
    assert breach_share(1.0, MetricGate("m", "up", at, against_control=False)) <= 0.05
    assert breach_share(1.1, MetricGate("m", "up", at, against_control=False)) >= 0.95
