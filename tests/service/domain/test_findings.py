import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.brakes import ALPHA_WHOLE
from service.domain.findings import Tally, examine
from service.domain.gates import METRICS, Gate, MeasureGate
from service.domain.measures import WIDTH, Compared, Moments, bucket

COUNTS = st.integers(0, 1000)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@given(TALLIES, TALLIES)
@settings(deadline=None)
def test_adding_tallies_loses_no_report(one, other):
    assert one.plus(other).reports == one.reports + other.reports
    assert one.plus(other) == other.plus(one)
    assert one.plus(Tally()) == one


@given(TALLIES, TALLIES)
def test_what_has_been_added_can_be_taken_off(one, other):
    assert one.plus(other).minus(other) == one
    assert Tally().minus(one) == Tally()


@given(TALLIES, st.sampled_from(sorted(METRICS)), st.floats(0, 1))
@settings(deadline=None)
def test_more_good_reports_never_cause_a_breach(tally, metric, bound):
    better = tally.plus(Tally(committed=1))
    if examine(Gate(metric, bound), better, {}, 0.05).says == "breach":
        assert examine(Gate(metric, bound), tally, {}, 0.05).says == "breach"


LEVEL = MeasureGate("load_ms", "up", 100.0, control=False)


def heap(value, count):
    """As many values of one kind."""
    place = bucket(value)
    return Moments(count, count * place, count * place * place)


def says(gate, treated, control=()):
    control = control or Moments()
    return examine(gate, Tally(), {("c", "s"): Compared(treated, control)}, 0.05).says


def test_a_measurement_waits_for_enough_values():
    assert says(LEVEL, heap(5000, 99)) == "waits"
    assert says(LEVEL, heap(5000, 100)) == "breach"
    assert says(replace(LEVEL, min_values=20), heap(5000, 20)) == "breach"


def test_a_level_is_bound_from_above_or_from_below():
    assert says(LEVEL, heap(50, 500)) == "holds"
    slow = replace(LEVEL, worse="down", bound=8.0)
    assert (says(slow, heap(4, 500)), says(slow, heap(16, 500))) == ("breach", "holds")


def test_what_is_beyond_its_bound_by_a_little_is_in_doubt():
    wide = heap(50, 100).plus(heap(220, 100))
    assert says(LEVEL, wide) == "doubts"


def test_a_change_is_measured_against_control():
    gate = MeasureGate("load_ms", "up", 0.1, control=True)
    assert says(gate, heap(130, 400), heap(100, 400)) == "breach"
    assert says(gate, heap(104, 400), heap(100, 400)) == "holds"
    assert says(gate, heap(130, 400), heap(100, 99)) == "waits"
    worse = MeasureGate("quality", "down", 0.02, control=True)
    assert says(worse, heap(0.7, 400), heap(0.9, 400)) == "breach"
    assert says(worse, heap(0.9, 400), heap(0.7, 400)) == "holds"


def test_devices_are_compared_with_their_like():
    """All of the control are slow devices, nearly all of the treated fast ones; within each kind nothing changed."""
    gate = MeasureGate("load_ms", "up", 0.05, control=True)
    values = {
        ("c", "slow"): Compared(heap(900, 110), heap(900, 900)),
        ("c", "fast"): Compared(heap(100, 900), heap(100, 110)),
    }
    found = examine(gate, Tally(), values, 0.05)
    assert (found.says, round(found.value, 9)) == ("holds", 0)
    assert (found.reports, found.control) == (1010, 1010)


def test_kinds_of_device_that_are_in_one_arm_only_say_nothing():
    gate = MeasureGate("load_ms", "up", 0.05, control=True)
    values = {("c", "a"): Compared(heap(900, 500)), ("c", "b"): Compared(control=heap(100, 500))}
    assert examine(gate, Tally(), values, 0.05).said == "load_ms: 0 and 0 of control of 100 values"


CV = math.sqrt(math.log(1.25))
"""Spread of the logarithms of log-normal values whose coefficient of variation is 0.5."""


def halted(change, gate, per_side=2000, runs=400, look_every=20):
    """Share of runs that a gate on a measurement ever stops."""
    rng, stopped = np.random.default_rng(7), 0
    for _ in range(runs):
        treated, control = _sums(rng, 7 + math.log(change), per_side), _sums(rng, 7, per_side)
        looks = (
            Compared(Moments(n, *map(int, treated[n - 1])), Moments(n, *map(int, control[n - 1])))
            for n in range(look_every, per_side + 1, look_every)
        )
        stopped += any(
            examine(gate, Tally(), {("c", "s"): both}, ALPHA_WHOLE).says == "breach" for both in looks
        )
    return stopped / runs


def _sums(rng, mean, count):
    places = np.floor(rng.normal(mean, CV, count) / WIDTH).astype(np.int64)
    return np.stack([places.cumsum(), (places * places).cumsum()], axis=1)


@pytest.mark.parametrize("worse", ["up", "down"])
def test_equal_measurements_hardly_ever_halt_however_often_one_looks(worse):
    assert halted(1.0, MeasureGate("m", worse, 0.0, control=True)) <= 0.05


def test_a_change_exactly_at_its_bound_hardly_ever_halts():
    assert halted(1.1, MeasureGate("m", "up", 0.1, control=True)) <= 0.05


def test_a_measurement_ten_per_cent_worse_is_caught_by_two_thousand_a_side():
    assert halted(1.1, MeasureGate("m", "up", 0.0, control=True)) >= 0.95
    assert halted(1.1, MeasureGate("m", "up", 0.02, control=True)) >= 0.95
    assert halted(1 / 1.1, MeasureGate("m", "down", 0.0, control=True)) >= 0.95


def test_a_level_at_its_bound_hardly_ever_halts_and_one_beyond_it_does():
    at = math.exp(7 + WIDTH / 2 - WIDTH / 2)
    assert halted(1.0, MeasureGate("m", "up", at, control=False)) <= 0.05
    assert halted(1.1, MeasureGate("m", "up", at, control=False)) >= 0.95
