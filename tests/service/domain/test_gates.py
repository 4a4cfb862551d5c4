import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.brakes import ALPHA_WHOLE
from service.domain.gates import METRICS, Gate, MeasureGate, Tally, examine, parse_gate
from service.domain.measures import WIDTH, Compared, Moments, bucket
from service.errors import InvalidGate

COUNTS = st.integers(0, 1000)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@pytest.mark.parametrize("metric", METRICS)
def test_a_gate_is_read_from_json(metric):
    assert parse_gate({"metric": metric, "max": 0.05}, "gates.0") == Gate(metric, 0.05)


@pytest.mark.parametrize("bound", [0, 1, 0.0, 1.0])
def test_the_ends_of_the_scale_are_bounds_too(bound):
    assert parse_gate({"metric": "failure_rate", "max": bound}, "g").max == bound


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (None, "g.metric"),
        ([], "g.metric"),
        ({}, "g.metric"),
        ({"metric": "mood", "max": 0.1}, "g.metric"),
        ({"metric": "failure_rate", "max": 0.1, "against": "control"}, "g.against"),
        ({"metric": "failure_rate", "min": 0.1}, "g.min"),
        ({"metric": "load_ms"}, "g.max"),
        ({"metric": "load_ms", "max": 0}, "g.max"),
        ({"metric": "load_ms", "max": 5, "min": 1}, "g.max"),
        ({"metric": "load_ms", "max_increase": 0.1}, "g.max_increase"),
        ({"metric": "load_ms", "against": "v1", "max_increase": 0.1}, "g.against"),
        ({"metric": "load_ms", "against": "control"}, "g.max_increase"),
        ({"metric": "load_ms", "against": "control", "max": 5}, "g.max"),
        ({"metric": "load_ms", "against": "control", "max_increase": -0.1}, "g.max_increase"),
        ({"metric": "quality", "against": "control", "max_decrease": 1}, "g.max_decrease"),
        ({"metric": "load_ms", "max": 5, "min_values": 19}, "g.min_values"),
        ({"metric": ["failure_rate"], "max": 0.1}, "g.metric"),
        ({"metric": {}, "max": 0.1}, "g.metric"),
        ({"metric": "failure_rate"}, "g.max"),
        ({"metric": "failure_rate", "max": "0.1"}, "g.max"),
        ({"metric": "failure_rate", "max": True}, "g.max"),
        ({"metric": "failure_rate", "max": 1.01}, "g.max"),
        ({"metric": "failure_rate", "max": -0.01}, "g.max"),
        ({"metric": "failure_rate", "max": float("nan")}, "g.max"),
    ],
)
def test_a_gate_that_cannot_be_read_is_refused_with_its_place(raw, place):
    with pytest.raises(InvalidGate) as refusal:
        parse_gate(raw, "g", ())
    assert refusal.value.field == place


@pytest.mark.parametrize(
    ("raw", "gate"),
    [
        ({"metric": "load_ms", "max": 4000}, MeasureGate("load_ms", "up", 4000, control=False)),
        ({"metric": "tokens_per_s", "min": 8}, MeasureGate("tokens_per_s", "down", 8, control=False)),
        (
            {"metric": "load_ms", "against": "control", "max_increase": 0.1},
            MeasureGate("load_ms", "up", 0.1, control=True),
        ),
        (
            {"metric": "quality", "against": "control", "max_decrease": 0.02, "min_values": 50},
            MeasureGate("quality", "down", 0.02, control=True, min_values=50),
        ),
        ({"metric": "own", "max": 1}, MeasureGate("own", "up", 1, control=False)),
    ],
)
def test_a_gate_on_a_measurement_is_read_from_json(raw, gate):
    assert parse_gate(raw, "g", ["own"]) == gate


def test_an_unknown_metric_is_refused_with_all_that_are_known():
    with pytest.raises(InvalidGate) as refusal:
        parse_gate({"metric": "mood", "max": 1}, "g", ["own", "load_ms"])
    assert refusal.value.detail == (
        "metric is one of failure_rate, crash_rate, rollback_rate, timeout_rate, "
        "load_ms, first_token_ms, tokens_per_s, peak_memory_mb, quality, own"
    )


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
