"""What people and gates do to a rollout: start, pause, widen, stop. Writes `rollouts`, `rollout_events`."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store
from service.domain import rollouts as life
from service.operations import attempts, versions
from service.operations.rollouts import note, require, require_ready


def act(
    session: Session, key: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Start, pause, resume, halt, cancel or promote a rollout.

    Raises:
        NotFound: no such rollout.
        WrongState: the verb does not apply now.
        VersionNotReady: the version is no longer ready.
    """
    row = require(session, key, lock=True)
    life.after(row.state, verb)
    if verb == "promote" and row.stage == len(row.stages) - 1:
        # Behind the last stage there is the end; else its approval would be waited for without end.
        verb = "complete"
    if verb in ("start", "resume"):
        version = store.versions.version_by_id(session, row.version_id)
        require_ready(version)
    carry_out(session, row, verb, actor=actor, reason=reason, now=now)
    return row


def revoke(
    session: Session, model: str, label: str, *, actor: str, reason: str, now: datetime
) -> store.versions.VersionRow:
    """Revoke a version, end its rollouts, and take back what has been offered of it; again changes nothing.

    Raises:
        UnknownModel, NotFound, WrongState: as `versions.revoke`.
    """
    version = versions.revoke(session, model, label, actor=actor, reason=reason, now=now)
    for row in store.rollouts.of_version(session, version.id):
        verb = next((verb for verb in ("halt", "cancel") if row.state in life.VERBS[verb][0]), None)
        if verb is not None:
            act(session, row.name, verb, actor=actor, reason=f"version revoked: {reason}", now=now)
    return version


def carry_out(
    session: Session, row: store.rollouts.RolloutRow, verb: str, *, actor: str, reason: str, now: datetime
) -> None:
    """Do a verb to a locked row; what people and gates have in common.

    Raises:
        WrongState: the verb does not apply now.
    """
    row.state, row.reason = life.after(row.state, verb), reason
    _EFFECTS.get(verb, _nothing)(session, row, now)
    note(session, row, verb, actor, now, reason=reason)


def _start(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.started_at, row.stage, row.stage_since = now, 0, now


def _widen(_session: Session, row: store.rollouts.RolloutRow, now: datetime) -> None:
    row.stage, row.stage_since = min(row.stage + 1, len(row.stages) - 1), now


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
    "complete": _end,
    "cancel": _end,
    "halt": _withdraw,
}
