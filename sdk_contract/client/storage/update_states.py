"""The update's state machine as tables: the allowed transitions, and the action after a restart.

A transition and its event are on disk before the work of the new state begins (`StateMachine.transition`). A poll writes
nothing until its response is verified, so the state `CHECKING` is never on disk.
"""

from collections.abc import Mapping
from enum import StrEnum

from sdk_contract.errors import ContractError


class UpdateState(StrEnum):
    """The state of the device's current update."""

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


class RestartAction(StrEnum):
    """The first action of a process that starts in a state."""

    NOTHING = "nothing"
    POLL = "poll"  # the server repeats the attempt with new URLs; downloaded files are kept
    ACTIVATE = "activate"  # all files are on disk, so no network is needed
    RESUME_TRIAL = "resume_trial"  # try again, or roll back after too many failed starts
    ROLL_BACK = "roll_back"
    CLEAN_UP = "clean_up"  # delete what is no longer needed, and return to idle


class IllegalTransition(ContractError):
    """A transition is not in the table of the state machine; this is a bug in the client."""

    code, number = "illegal_transition", 5900


_ABORTED = frozenset({UpdateState.FAILED, UpdateState.CANCELLED})

TRANSITIONS: Mapping[UpdateState, frozenset[UpdateState]] = {
    UpdateState.IDLE: frozenset({UpdateState.CHECKING, UpdateState.OFFERED}),
    UpdateState.CHECKING: frozenset({UpdateState.IDLE, UpdateState.OFFERED}),
    UpdateState.OFFERED: frozenset(
        {
            UpdateState.WAITING,
            UpdateState.PAUSED,
            UpdateState.DOWNLOADING,
            UpdateState.STAGED,
            UpdateState.OFFERED,
        }
    )
    | _ABORTED,
    UpdateState.WAITING: frozenset(
        {UpdateState.WAITING, UpdateState.PAUSED, UpdateState.OFFERED, UpdateState.DOWNLOADING}
    )
    | _ABORTED,
    UpdateState.DOWNLOADING: frozenset(
        {
            UpdateState.DOWNLOADING,
            UpdateState.PAUSED,
            UpdateState.WAITING,
            UpdateState.VERIFYING,
            UpdateState.OFFERED,
        }
    )
    | _ABORTED,
    UpdateState.PAUSED: frozenset(
        {UpdateState.PAUSED, UpdateState.OFFERED, UpdateState.DOWNLOADING, UpdateState.WAITING}
    )
    | _ABORTED,
    UpdateState.VERIFYING: frozenset(
        {
            UpdateState.APPLYING,
            UpdateState.DOWNLOADING,
            UpdateState.PAUSED,
            UpdateState.WAITING,
            UpdateState.STAGED,
            UpdateState.OFFERED,
        }
    )
    | _ABORTED,
    UpdateState.APPLYING: frozenset({UpdateState.APPLYING, UpdateState.STAGED, UpdateState.ROLLING_BACK}),
    UpdateState.STAGED: frozenset({UpdateState.ACTIVATING, UpdateState.OFFERED}) | _ABORTED,
    UpdateState.ACTIVATING: frozenset(
        {UpdateState.ACTIVATING, UpdateState.PROBATION, UpdateState.COMMITTED, UpdateState.ROLLING_BACK}
    ),
    UpdateState.PROBATION: frozenset(
        {UpdateState.PROBATION, UpdateState.COMMITTED, UpdateState.ROLLING_BACK}
    ),
    UpdateState.COMMITTED: frozenset({UpdateState.IDLE}),
    UpdateState.ROLLING_BACK: frozenset({UpdateState.ROLLING_BACK, UpdateState.ROLLED_BACK}),
    UpdateState.ROLLED_BACK: frozenset({UpdateState.IDLE}),
    UpdateState.FAILED: frozenset({UpdateState.IDLE}),
    UpdateState.CANCELLED: frozenset({UpdateState.IDLE}),
}

ON_RESTART: Mapping[UpdateState, RestartAction] = {
    UpdateState.IDLE: RestartAction.NOTHING,
    UpdateState.CHECKING: RestartAction.NOTHING,
    UpdateState.OFFERED: RestartAction.POLL,
    UpdateState.WAITING: RestartAction.POLL,
    UpdateState.DOWNLOADING: RestartAction.POLL,
    UpdateState.PAUSED: RestartAction.POLL,
    UpdateState.APPLYING: RestartAction.ACTIVATE,
    UpdateState.VERIFYING: RestartAction.POLL,
    UpdateState.STAGED: RestartAction.ACTIVATE,
    UpdateState.ACTIVATING: RestartAction.RESUME_TRIAL,
    UpdateState.PROBATION: RestartAction.RESUME_TRIAL,
    UpdateState.COMMITTED: RestartAction.CLEAN_UP,
    UpdateState.ROLLING_BACK: RestartAction.ROLL_BACK,
    UpdateState.ROLLED_BACK: RestartAction.CLEAN_UP,
    UpdateState.FAILED: RestartAction.CLEAN_UP,
    UpdateState.CANCELLED: RestartAction.CLEAN_UP,
}


def require_transition(source: UpdateState, target: UpdateState) -> None:
    """Check that a transition is in the table.

    Raises:
        IllegalTransition: it is not.
    """
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"{source} -> {target}")
