import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.gates.evidence import (
    TUNED_SAMPLE_SIZE,
    is_convincing,
    mean_evidence,
    rate_evidence,
    sample_ratio_evidence,
)

RUNS = 400
EVALUATE_EVERY = 20
END = 5000


def halted_share(true_rate: float, bound: float, until: int, seed: int) -> float:
    """Share of runs that a gate halts if it is evaluated after every 20 reports."""
    draws = np.random.default_rng(seed).random((RUNS, until)) < true_rate
    failures = draws.cumsum(axis=1)[:, EVALUATE_EVERY - 1 :: EVALUATE_EVERY]
    reports = np.arange(EVALUATE_EVERY, until + 1, EVALUATE_EVERY)
    halted = [
        any(is_convincing(rate_evidence(int(b), int(n), bound)) for b, n in zip(row, reports, strict=True))
        for row in failures
    ]
    return sum(halted) / RUNS


def test_a_good_rollout_is_rarely_halted_however_often_it_is_evaluated():
    assert halted_share(0.02, 0.05, END, seed=1) <= 0.05


def test_a_rollout_at_its_bound_is_halted_in_at_most_alpha_of_all_cases():
    assert halted_share(0.05, 0.05, END, seed=2) <= 0.05


def test_a_rate_twice_the_bound_is_found_early():
    assert halted_share(0.10, 0.05, 800, seed=3) >= 0.95


def test_a_disaster_is_found_after_a_few_reports():
    assert is_convincing(rate_evidence(4, 5, 0.05))
    assert not is_convincing(rate_evidence(1, 5, 0.05))


def test_one_failure_is_proof_if_none_is_allowed():
    assert rate_evidence(1, 1000, 0.0) == math.inf
    assert rate_evidence(0, 1000, 0.0) == 0


def test_nothing_is_proof_if_every_rate_is_allowed():
    assert rate_evidence(1000, 1000, 1.0) == 0


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0.001, 0.999))
def test_evidence_about_a_rate_is_finite_for_all_counts(failures, good, bound):
    assert math.isfinite(rate_evidence(failures, failures + good, bound))


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.01, 0.9))
def test_more_failures_are_never_less_evidence(failures, more, bound):
    reports = failures + more + 10
    assert rate_evidence(failures + more, reports, bound) >= rate_evidence(failures, reports, bound)


@pytest.mark.parametrize("bound", [0.01, 0.05, 0.3])
def test_there_is_no_evidence_without_reports(bound):
    assert rate_evidence(0, 0, bound) == pytest.approx(0.0)


def test_evidence_about_a_mean_grows_with_its_excess():
    found = [mean_evidence(z, 1.0, 1.0) for z in (-100, -3, 0, 3, 4, 100)]
    assert found == sorted(found)
    assert found[0] < found[2] <= 0 < found[3]


@given(st.floats(-1e6, 1e6), st.floats(1e-12, 1e6), st.floats(1e-12, 1e6))
def test_evidence_about_a_mean_is_a_number_for_all_estimates(excess, variance, tuned):
    assert not math.isnan(mean_evidence(excess, variance, tuned))


def test_an_estimate_without_variance_is_no_evidence():
    assert mean_evidence(1.0, 0.0, 1.0) == 0


def test_evidence_about_a_mean_is_most_sensitive_at_the_tuned_sample_size():
    """At the same number of standard errors, the evidence is greatest at the tuned sample size."""
    z = 3.0
    found = {
        n: mean_evidence(z / math.sqrt(n), 1 / n, 1 / TUNED_SAMPLE_SIZE)
        for n in (10, 100, 1000, 10_000, 100_000)
    }
    assert max(found, key=lambda size: found[size]) == TUNED_SAMPLE_SIZE


def test_a_correct_sample_ratio_rarely_raises_an_alarm():
    rng, steps = np.random.default_rng(5), np.arange(20, 4001, 20)
    draws = (rng.random((RUNS, 4000)) < 0.1).cumsum(axis=1)[:, steps - 1]
    alarms = [
        any(
            is_convincing(sample_ratio_evidence(int(i), int(n - i), 0.1), 0.01)
            for i, n in zip(row, steps, strict=True)
        )
        for row in draws
    ]
    assert sum(alarms) / RUNS <= 0.01


def test_a_wrong_sample_ratio_is_found_in_both_directions():
    assert is_convincing(sample_ratio_evidence(60, 940, 0.1), 0.01)
    assert is_convincing(sample_ratio_evidence(150, 850, 0.1), 0.01)
    assert not is_convincing(sample_ratio_evidence(100, 900, 0.1), 0.01)
    assert sample_ratio_evidence(0, 0, 0.5) == pytest.approx(0)
