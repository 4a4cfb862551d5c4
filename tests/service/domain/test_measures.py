import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.measures import LEAST, MOST, WIDTH, Compared, Moments, bucket

SOME = st.builds(Moments, st.integers(0, 1000), st.integers(-(10**6), 10**6), st.integers(0, 10**9))


def histogram(values):
    places = [bucket(value) for value in values]
    return Moments(len(places), sum(places), sum(place * place for place in places))


@given(st.floats(LEAST, MOST))
def test_a_value_lies_in_its_bucket(value):
    place = bucket(value)
    assert math.exp(WIDTH * place) <= value * (1 + 1e-9)
    assert value <= math.exp(WIDTH * (place + 1)) * (1 + 1e-9)


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), -math.inf])
def test_what_cannot_have_been_measured_has_no_bucket(value):
    assert bucket(value) is None


def test_extremes_weigh_as_much_as_the_bounds():
    assert bucket(0) == bucket(LEAST) == bucket(1e-300)
    assert bucket(math.inf) == bucket(MOST) == bucket(1e300)
    assert -139 <= bucket(0) < bucket(math.inf) <= 552


@pytest.mark.parametrize("sd", [0.1, 0.47, 1.5])
def test_mean_and_spread_of_a_histogram_are_those_of_the_values(sd):
    """The error of either is far below what chance leaves: a hundredth of a standard error and 2 % at worst."""
    logs = np.random.default_rng(1).normal(8, sd, 20_000)
    found = histogram(np.exp(logs))
    assert abs(found.mean - logs.mean()) < 0.05 * sd / math.sqrt(len(logs)) + 1e-3
    assert math.sqrt(found.scatter / len(logs)) == pytest.approx(logs.std(), rel=0.02)
    assert found.typical == pytest.approx(math.exp(logs.mean()), rel=0.002)


def test_values_of_one_bucket_are_not_taken_for_values_without_a_spread():
    assert histogram([100] * 50).scatter == pytest.approx(50 * WIDTH**2 / 12)


def test_no_digits_are_lost_in_a_million_values():
    found = Moments(10**6, 552 * 10**6, 552 * 552 * 10**6)
    assert found.scatter == pytest.approx(10**6 * WIDTH**2 / 12)


def test_without_values_there_is_neither_mean_nor_spread():
    assert (Moments().mean, Moments().scatter) == (0, 0)


@given(SOME, SOME)
def test_histograms_are_added_and_taken_off(one, other):
    assert one.plus(other) == other.plus(one)
    assert one.plus(other).minus(other) == one
    assert Compared(one, other).plus(Compared(other, one)).minus(Compared(other, one)) == Compared(one, other)
