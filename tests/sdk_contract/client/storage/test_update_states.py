import itertools

import pytest

from sdk_contract.client.storage.update_states import (
    ON_RESTART,
    TRANSITIONS,
    IllegalTransition,
    RestartAction,
    UpdateState,
    require_transition,
)


def reachable(start):
    seen, open_ = set(), [start]
    while open_:
        state = open_.pop()
        if state not in seen:
            seen.add(state)
            open_ += TRANSITIONS[state]
    return seen


def test_every_state_has_transitions_and_a_restart_action():
    assert set(TRANSITIONS) == set(ON_RESTART) == set(UpdateState)


def test_every_state_is_reachable_from_idle_and_leads_back_to_it():
    assert reachable(UpdateState.IDLE) == set(UpdateState)
    assert all(UpdateState.IDLE in reachable(state) for state in UpdateState)


def test_after_files_changed_or_a_trial_began_only_commit_or_rollback_remain():
    for state in (UpdateState.APPLYING, UpdateState.ACTIVATING, UpdateState.PROBATION):
        ends = TRANSITIONS[state] & {
            UpdateState.FAILED,
            UpdateState.CANCELLED,
            UpdateState.IDLE,
            UpdateState.WAITING,
        }
        assert ends == set()


def test_states_without_need_of_a_network_do_not_poll_after_a_restart():
    offline = {state for state, restart in ON_RESTART.items() if restart is not RestartAction.POLL}
    assert {
        UpdateState.STAGED,
        UpdateState.APPLYING,
        UpdateState.ACTIVATING,
        UpdateState.PROBATION,
        UpdateState.ROLLING_BACK,
    } <= offline


def test_a_transition_outside_the_table_is_an_error():
    for source, target in itertools.product(UpdateState, UpdateState):
        if target in TRANSITIONS[source]:
            require_transition(source, target)
        else:
            with pytest.raises(IllegalTransition, match=f"illegal_transition: {source} -> {target}"):
                require_transition(source, target)
