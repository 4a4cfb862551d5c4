import itertools

import pytest

from sdk_contract.client.states import ON_RESTART, TRANSITIONS, IllegalTransition, Restart, State, require


def reachable(start):
    seen, open_ = set(), [start]
    while open_:
        state = open_.pop()
        if state not in seen:
            seen.add(state)
            open_ += TRANSITIONS[state]
    return seen


def test_every_state_has_its_transitions_and_its_restart():
    assert set(TRANSITIONS) == set(ON_RESTART) == set(State)


def test_every_state_can_be_reached_from_idle_and_leads_back_to_it():
    assert reachable(State.IDLE) == set(State)
    assert all(State.IDLE in reachable(state) for state in State)


def test_once_files_move_or_a_trial_began_the_only_ways_out_are_commit_and_roll_back():
    for state in (State.APPLYING, State.ACTIVATING, State.PROBATION):
        ends = TRANSITIONS[state] & {State.FAILED, State.CANCELLED, State.IDLE, State.WAITING}
        assert ends == set()


def test_states_that_need_no_network_do_not_ask_for_it_after_a_restart():
    offline = {state for state, restart in ON_RESTART.items() if restart is not Restart.POLL}
    assert {State.STAGED, State.APPLYING, State.ACTIVATING, State.PROBATION, State.ROLLING_BACK} <= offline


def test_a_step_that_is_not_in_the_table_is_refused():
    for source, target in itertools.product(State, State):
        if target in TRANSITIONS[source]:
            require(source, target)
        else:
            with pytest.raises(IllegalTransition):
                require(source, target)
