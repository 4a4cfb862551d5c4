"""What each verb does to a rollout's row, whoever says it: people, gates, the clock. Writes `rollouts`, `rollout_events`."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store
from service.domain import rollouts as life
from service.operations import attempts
from service.operations.rollouts import note


def carry_out(
    session: Session, row: store.rollouts.RolloutRow, verb: str, *, actor: str, reason: str, now: datetime
) -> None:
    """Do a verb to a locked row.

    Raises:
        WrongState: the verb does not apply now.
    """
    row.state, row.reason, row.waits_for = life.after(row.state, verb), reason, ""
    _EFFECTS.get(verb, _nothing)(session, row, now)
    note(session, row, verb, actor, now, reason=reason)


def _start(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.started_at, row.stage, row.stage_since = now, 0, now


def _widen(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.stage, row.stage_since = min(row.stage + 1, len(row.stages) - 1), now


def _activate(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    # The stage begins anew: what it waits for now is what devices report after the switch.
    row.activated_at, row.stage_since = now, now
    attempts.wake(session, row.id, now=now)


def _end(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now


def _withdraw(session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.ended_at = now
    attempts.withdraw(session, row.id, now=now)


def _nothing(_session: Session, _row: store.rollouts.RolloutRow, _now: datetime) -> None:
    """Pause and resume change the state alone; open attempts go on."""


_EFFECTS = {
    "start": _start,
    "promote": _widen,
    "advance": _widen,
    "activate": _activate,
    "complete": _end,
    "cancel": _end,
    "halt": _withdraw,
    "rollback": _withdraw,
}
