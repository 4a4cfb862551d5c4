"""Changing the state of a rollout. Every change goes through here, whether a person, a gate or the schedule asks for it."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import lifecycle
from service.operations.outcomes import attempts
from service.operations.rollouts.records import record_event


def apply_transition(
    session: Session, row: store.rollouts.RolloutRow, verb: str, *, actor: str, reason: str, now: datetime
) -> None:
    """Change the state of a locked rollout, and record the event.

    Raises:
        WrongState: the verb does not apply to the present state.
    """
    row.state, row.reason, row.waiting_for = lifecycle.next_state(row.state, verb), reason, ""
    _EFFECTS.get(verb, _no_effect)(session, row, now)
    record_event(session, row, verb, actor, now, reason=reason)


def _start(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.started_at, row.stage, row.stage_since = now, 0, now


def _open_next_stage(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.stage, row.stage_since = min(row.stage + 1, len(row.stages) - 1), now


def _activate(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    # The stage starts again, because from now on its gates wait for reports after the activation.
    row.activated_at, row.stage_since = now, now
    attempts.extend_staged_leases(session, row.id, now=now)


def _end(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now


def _end_and_cancel(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now
    attempts.cancel_open(session, row.id, now=now)


def _no_effect(_session: Session, _row: store.rollouts.RolloutRow, _now: datetime) -> None:
    """The state alone changes, for example on pause and resume; open attempts continue."""


_EFFECTS = {
    "start": _start,
    "promote": _open_next_stage,
    "advance": _open_next_stage,
    "activate": _activate,
    "complete": _end,
    "cancel": _end,
    "halt": _end_and_cancel,
    "rollback": _end_and_cancel,
}
"""Verb -> what it does besides changing the state."""
