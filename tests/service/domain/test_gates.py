from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.gates import METRICS, Gate, Hold, Tally, judge, parse_gate
from service.errors import InvalidGate

COUNTS = st.integers(0, 1000)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
HOUR = timedelta(hours=1)


def verdict(gates=(), hold=None, own=None, everyone=None, age=HOUR):
    own = Tally(committed=10) if own is None else own
    return judge(gates, hold or Hold(), own, own if everyone is None else everyone, age)


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
        parse_gate(raw, "g")
    assert refusal.value.field == place


def test_a_stage_that_does_well_goes_on():
    assert verdict([Gate("failure_rate", 0.1)]).outcome == "advance"


def test_no_report_is_never_healthy():
    assert verdict([Gate("failure_rate", 1.0)], own=Tally(offered=500)).outcome == "hold"


def test_a_stage_waits_for_its_minutes():
    assert verdict(hold=Hold(minutes=61)).outcome == "hold"
    assert verdict(hold=Hold(minutes=60)).outcome == "advance"


def test_a_stage_waits_for_reports_of_its_own_devices():
    assert verdict(hold=Hold(reports=11), everyone=Tally(committed=10_000)).outcome == "hold"
    assert verdict(hold=Hold(reports=10)).outcome == "advance"


def test_a_stage_that_asks_for_a_person_waits_for_one():
    held = verdict(hold=Hold(approval=True))
    assert held.outcome == "hold"
    assert "promote" in held.reason


def test_a_breach_is_seen_before_the_stage_is_ripe():
    bad = Tally(committed=5, failed=5)
    assert verdict([Gate("failure_rate", 0.1)], Hold(minutes=999), bad).outcome == "breach"


def test_a_breach_in_an_earlier_stage_counts():
    assert verdict([Gate("failure_rate", 0.1)], everyone=Tally(committed=5, failed=5)).outcome == "breach"


def test_silence_counts_as_failure():
    silent = Tally(committed=5, timed_out=5)
    assert verdict([Gate("failure_rate", 0.1)], own=silent).outcome == "breach"
    assert verdict([Gate("timeout_rate", 0.1)], own=silent).outcome == "breach"


def test_each_rate_counts_its_own_outcomes():
    crashed = Tally(committed=5, rolled_back=5)
    assert verdict([Gate("timeout_rate", 0)], own=crashed).outcome == "advance"
    assert verdict([Gate("rollback_rate", 0.1)], own=crashed).outcome == "breach"


def test_one_bad_report_is_an_accident_that_holds_and_does_not_halt():
    assert verdict([Gate("failure_rate", 0.0)], own=Tally(committed=1, failed=1)).outcome == "hold"
    assert verdict([Gate("failure_rate", 0.0)], own=Tally(committed=1, failed=2)).outcome == "breach"


def test_a_rate_above_its_bound_holds_until_the_evidence_convinces():
    assert verdict([Gate("failure_rate", 0.25)], own=Tally(committed=2, failed=2)).outcome == "hold"
    assert verdict([Gate("failure_rate", 0.25)], own=Tally(committed=20, failed=20)).outcome == "breach"


def test_a_rate_at_its_bound_is_no_breach():
    assert verdict([Gate("failure_rate", 0.5)], own=Tally(committed=5, failed=5)).outcome == "advance"


def test_a_breach_says_which_gate_and_by_how_much():
    assert (
        verdict([Gate("crash_rate", 0.1)], own=Tally(committed=5, rolled_back=5)).reason
        == "crash_rate 5/10 is above 10.00%"
    )


@given(TALLIES, TALLIES)
@settings(deadline=None)
def test_adding_tallies_loses_no_report(one, other):
    assert one.plus(other).reports == one.reports + other.reports
    assert one.plus(other) == other.plus(one)
    assert one.plus(Tally()) == one


@given(TALLIES, st.sampled_from(sorted(METRICS)), st.floats(0, 1))
@settings(deadline=None)
def test_more_good_reports_never_cause_a_breach(tally, metric, bound):
    better = tally.plus(Tally(committed=1))
    if verdict([Gate(metric, bound)], own=better).outcome == "breach":
        assert verdict([Gate(metric, bound)], own=tally).outcome == "breach"
