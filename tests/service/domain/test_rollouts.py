import pytest

from service.domain.gates import Hold
from service.domain.rollouts import (
    MAX_STAGES,
    TERMINAL,
    VERBS,
    after,
    check_stages,
    hold_of,
    require_reason,
)
from service.errors import InvalidGate, InvalidStages, ReasonRequired, WrongState

STATES = {state for allowed, result in VERBS.values() for state in (*allowed, result)} | TERMINAL


def stage(cohort="everyone", percent=100.0, **more):
    return {"cohort": cohort, "percent": percent, **more}


def place_of_fault(stages):
    with pytest.raises(InvalidStages) as refusal:
        check_stages(stages)
    return refusal.value.field


@pytest.mark.parametrize(
    ("state", "verb", "result"),
    [
        ("draft", "start", "running"),
        ("scheduled", "start", "running"),
        ("running", "pause", "paused"),
        ("paused", "resume", "running"),
        ("running", "promote", "running"),
        ("running", "advance", "running"),
        ("running", "complete", "completed"),
        ("running", "halt", "halted"),
        ("paused", "halt", "halted"),
        ("completed", "halt", "halted"),
        ("running", "rollback", "rolled_back"),
        ("paused", "rollback", "rolled_back"),
        ("completed", "rollback", "rolled_back"),
        ("halted", "rollback", "rolled_back"),
        ("draft", "submit", "awaiting_approval"),
        ("awaiting_approval", "approve", "awaiting_approval"),
        ("awaiting_approval", "schedule", "scheduled"),
        ("draft", "schedule", "scheduled"),
        ("running", "activate", "running"),
        ("draft", "cancel", "cancelled"),
        ("awaiting_approval", "cancel", "cancelled"),
    ],
)
def test_a_verb_leads_to_its_state(state, verb, result):
    assert after(state, verb) == result


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_nothing_leads_out_of_an_end(state, verb):
    with pytest.raises(WrongState):
        after(state, verb)


def test_out_of_halted_leads_nothing_but_rollback():
    assert [verb for verb, (allowed, _) in VERBS.items() if "halted" in allowed] == ["rollback"]


def test_nothing_ever_runs_again_once_it_was_stopped():
    ended = TERMINAL | {"halted"}
    while wider := {VERBS[verb][1] for verb in VERBS if VERBS[verb][0] & ended} - ended:
        ended |= wider
    assert ended == {"halted", "rolled_back", "cancelled"}


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_a_risky_verb_says_why(reason):
    with pytest.raises(ReasonRequired) as refusal:
        require_reason("halt", reason)
    assert refusal.value.field == "reason"
    require_reason("halt", "it answers in rhymes")


@pytest.mark.parametrize(
    ("state", "verb"),
    [("draft", "pause"), ("running", "start"), ("paused", "complete"), ("running", "cancel")],
)
def test_a_verb_in_the_wrong_state_is_refused_and_says_where_it_applies(state, verb):
    with pytest.raises(WrongState) as refusal:
        after(state, verb)
    assert state in refusal.value.detail
    assert all(allowed in refusal.value.detail for allowed in VERBS[verb][0])


def test_every_state_that_a_verb_asks_for_is_one_that_exists():
    assert all(allowed <= STATES for allowed, _ in VERBS.values())


def test_stages_that_widen_are_good():
    check_stages([stage(percent=0.01), stage(percent=1), stage(percent=100)])


def test_stages_may_go_on_to_another_cohort():
    check_stages([stage("internal", 100), stage("beta", 10), stage("everyone", 1), stage("beta", 50)])


@pytest.mark.parametrize("percent", [0, -1, 100.01, float("nan"), float("inf")])
def test_a_percentage_is_above_nought_and_up_to_a_hundred(percent):
    assert place_of_fault([stage(percent=percent)]) == "stages.0.percent"


@pytest.mark.parametrize("second", [5, 10])
def test_a_stage_that_does_not_widen_its_cohort_is_refused(second):
    assert place_of_fault([stage(percent=10), stage("other", 1), stage(percent=second)]) == "stages.2.percent"


def test_a_rollout_has_between_one_and_twenty_stages():
    check_stages([stage(percent=n + 1) for n in range(MAX_STAGES)])
    assert place_of_fault([]) == "stages"
    assert place_of_fault([stage(percent=n + 1) for n in range(MAX_STAGES + 1)]) == "stages"


def test_a_gate_that_cannot_be_read_is_named_with_its_stage():
    good = {"metric": "failure_rate", "max": 0.1}
    with pytest.raises(InvalidGate) as refusal:
        check_stages([stage(percent=1, gates=[good]), stage(gates=[good, {"metric": "mood"}])])
    assert refusal.value.field == "stages.1.gates.1.metric"


def test_a_stage_that_says_nothing_waits_for_one_report():
    assert hold_of({}) == Hold(minutes=0, reports=1, approval=False)


def test_a_stage_waits_for_what_it_says():
    assert hold_of({"minutes": 30, "reports": 50, "approval": True}) == Hold(30, 50, approval=True)
