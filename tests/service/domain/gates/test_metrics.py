import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.gates.metrics import (
    BUCKET_WIDTH,
    MAX_VALUE,
    MIN_VALUE,
    ArmMoments,
    Moments,
    histogram_bucket,
)

any_moments = st.builds(Moments, st.integers(0, 1000), st.integers(-(10**6), 10**6), st.integers(0, 10**9))


def bucket_of(value):
    """The bucket of a value that has one."""
    bucket = histogram_bucket(value)
    assert bucket is not None
    return bucket


def histogram(values):
    numbers = [bucket_of(value) for value in values]
    return Moments(len(numbers), sum(numbers), sum(number * number for number in numbers))


@given(st.floats(MIN_VALUE, MAX_VALUE))
def test_a_value_is_in_its_histogram_bucket(value):
    number = bucket_of(value)
    assert math.exp(BUCKET_WIDTH * number) <= value * (1 + 1e-9)
    assert value <= math.exp(BUCKET_WIDTH * (number + 1)) * (1 + 1e-9)


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), -math.inf])
def test_an_impossible_value_has_no_bucket(value):
    assert histogram_bucket(value) is None


def test_extreme_values_count_as_the_limits():
    assert histogram_bucket(0) == histogram_bucket(MIN_VALUE) == histogram_bucket(1e-300)
    assert histogram_bucket(math.inf) == histogram_bucket(MAX_VALUE) == histogram_bucket(1e300)
    assert -139 <= bucket_of(0) < bucket_of(math.inf) <= 552


@pytest.mark.parametrize("sd", [0.1, 0.47, 1.5])
def test_mean_and_variance_of_a_histogram_match_the_values(sd):
    """The errors are far below the effect of chance: a hundredth of a standard error and 2 % at most."""
    logs = np.random.default_rng(1).normal(8, sd, 20_000)
    found = histogram(np.exp(logs))
    assert abs(found.mean - logs.mean()) < 0.05 * sd / math.sqrt(len(logs)) + 1e-3
    assert math.sqrt(found.sum_of_squares / len(logs)) == pytest.approx(logs.std(), rel=0.02)
    assert found.geometric_mean == pytest.approx(math.exp(logs.mean()), rel=0.002)


def test_values_in_one_bucket_have_a_variance():
    assert histogram([100] * 50).sum_of_squares == pytest.approx(50 * BUCKET_WIDTH**2 / 12)


def test_a_million_values_lose_no_digits():
    found = Moments(10**6, 552 * 10**6, 552 * 552 * 10**6)
    assert found.sum_of_squares == pytest.approx(10**6 * BUCKET_WIDTH**2 / 12)


def test_no_values_have_neither_mean_nor_variance():
    assert (Moments().mean, Moments().sum_of_squares) == (0, 0)


@given(any_moments, any_moments)
def test_moments_are_added_and_subtracted(one, other):
    assert one.plus(other) == other.plus(one)
    assert one.plus(other).minus(other) == one
    assert ArmMoments(one, other).plus(ArmMoments(other, one)).minus(ArmMoments(other, one)) == ArmMoments(
        one, other
    )
