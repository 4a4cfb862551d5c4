"""The state machine as a table: where an update may go, and what a restart does about it.

A transition is on disk before the work that it announces begins (`Store.change`), together with the
event that reports it. `IDLE` and `CHECKING` are one thing on disk: a poll changes nothing until
its answer has been verified, so polls wear no flash.
"""

from collections.abc import Mapping
from enum import StrEnum

from sdk_contract.errors import ContractError


class State(StrEnum):
    """Where the device is with its one update."""

    IDLE = "idle"
    CHECKING = "checking"
    OFFERED = "offered"
    WAITING = "waiting"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    VERIFYING = "verifying"
    APPLYING = "applying"
    STAGED = "staged"
    ACTIVATING = "activating"
    PROBATION = "probation"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Restart(StrEnum):
    """What is done first when a process finds the directory in a state."""

    NOTHING = "nothing"
    POLL = "poll"  # the server names the same attempt again, with fresh addresses; files on disk are kept
    ACTIVATE = "activate"  # all that is needed is here: no network is asked
    JUDGE = "judge"  # count the strike, then try again or roll back
    ROLL_BACK = "roll_back"
    SETTLE = "settle"  # clean up and be idle


class IllegalTransition(ContractError):
    """A step that the table does not have: a fault of ours, never of the outside."""

    code, number = "illegal_transition", 5900


_STOPS = frozenset({State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.IDLE: frozenset({State.CHECKING, State.OFFERED}),
    State.CHECKING: frozenset({State.IDLE, State.OFFERED}),
    State.OFFERED: frozenset({State.WAITING, State.PAUSED, State.DOWNLOADING, State.STAGED, State.OFFERED})
    | _STOPS,
    State.WAITING: frozenset({State.WAITING, State.PAUSED, State.OFFERED, State.DOWNLOADING}) | _STOPS,
    State.DOWNLOADING: frozenset(
        {State.DOWNLOADING, State.PAUSED, State.WAITING, State.VERIFYING, State.OFFERED}
    )
    | _STOPS,
    State.PAUSED: frozenset({State.PAUSED, State.OFFERED, State.DOWNLOADING, State.WAITING}) | _STOPS,
    State.VERIFYING: frozenset(
        {State.APPLYING, State.DOWNLOADING, State.PAUSED, State.WAITING, State.STAGED, State.OFFERED}
    )
    | _STOPS,
    State.APPLYING: frozenset({State.APPLYING, State.STAGED, State.ROLLING_BACK}),
    State.STAGED: frozenset({State.ACTIVATING, State.OFFERED}) | _STOPS,
    State.ACTIVATING: frozenset({State.ACTIVATING, State.PROBATION, State.COMMITTED, State.ROLLING_BACK}),
    State.PROBATION: frozenset({State.PROBATION, State.COMMITTED, State.ROLLING_BACK}),
    State.COMMITTED: frozenset({State.IDLE}),
    State.ROLLING_BACK: frozenset({State.ROLLING_BACK, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset({State.IDLE}),
    State.FAILED: frozenset({State.IDLE}),
    State.CANCELLED: frozenset({State.IDLE}),
}

ON_RESTART: Mapping[State, Restart] = {
    State.IDLE: Restart.NOTHING,
    State.CHECKING: Restart.NOTHING,
    State.OFFERED: Restart.POLL,
    State.WAITING: Restart.POLL,
    State.DOWNLOADING: Restart.POLL,
    State.PAUSED: Restart.POLL,
    State.APPLYING: Restart.ACTIVATE,
    State.VERIFYING: Restart.POLL,
    State.STAGED: Restart.ACTIVATE,
    State.ACTIVATING: Restart.JUDGE,
    State.PROBATION: Restart.JUDGE,
    State.COMMITTED: Restart.SETTLE,
    State.ROLLING_BACK: Restart.ROLL_BACK,
    State.ROLLED_BACK: Restart.SETTLE,
    State.FAILED: Restart.SETTLE,
    State.CANCELLED: Restart.SETTLE,
}


def require(source: State, target: State) -> None:
    """Refuse a transition that is not in the table.

    Raises:
        IllegalTransition: naming both states.
    """
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"{source} -> {target}")
