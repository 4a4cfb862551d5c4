import pytest

from service.domain.rollouts.lifecycle import TRANSITIONS, next_state, require_reason
from service.errors import ReasonRequired, WrongState

TERMINAL = {"rolled_back", "cancelled"}
STATES = {state for allowed, result in TRANSITIONS.values() for state in (*allowed, result)} | TERMINAL


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
    assert next_state(state, verb) == result


@pytest.mark.parametrize("verb", TRANSITIONS)
@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_no_verb_applies_in_a_terminal_state(state, verb):
    with pytest.raises(WrongState, match="wrong_state: this rollout is"):
        next_state(state, verb)


def test_only_rollback_applies_to_a_halted_rollout():
    assert [verb for verb, (allowed, _) in TRANSITIONS.items() if "halted" in allowed] == ["rollback"]


def test_a_stopped_rollout_never_runs_again():
    ended = TERMINAL | {"halted"}
    while wider := {TRANSITIONS[verb][1] for verb in TRANSITIONS if TRANSITIONS[verb][0] & ended} - ended:
        ended |= wider
    assert ended == {"halted", "rolled_back", "cancelled"}


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_a_risky_action_requires_a_reason(reason):
    with pytest.raises(ReasonRequired) as refusal:
        require_reason("halt", reason)
    assert refusal.value.field == "reason"
    require_reason("halt", "it answers in rhymes")


@pytest.mark.parametrize(
    ("state", "verb"),
    [("draft", "pause"), ("running", "start"), ("paused", "complete"), ("running", "cancel")],
)
def test_a_verb_in_the_wrong_state_is_refused_with_the_right_states(state, verb):
    with pytest.raises(WrongState) as refusal:
        next_state(state, verb)
    assert state in refusal.value.detail
    assert all(allowed in refusal.value.detail for allowed in TRANSITIONS[verb][0])


def test_every_verb_applies_to_existing_states():
    assert all(allowed <= STATES for allowed, _ in TRANSITIONS.values())
