"""What people do to a rollout, each verb with its own rules. Writes `rollouts`, `rollout_events`."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store
from service.domain import rollouts as life
from service.errors import WrongState
from service.jobs import Bell
from service.operations import rehearsal, rollout_gates, rollout_starts, versions
from service.operations.rollout_effects import carry_out
from service.operations.rollouts import require, require_ready


def act(
    session: Session, bell: Bell, key: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Do what a person says: start, approve, pause, resume, promote, activate, halt, rollback or cancel.

    Raises:
        NotFound: no such rollout.
        WrongState: the verb does not apply now.
        ReasonRequired: a risky verb without a reason.
        VersionNotReady: the version is no longer ready.
        OwnApproval, AlreadyApproved, RollbackNotRehearsed, RolloutsFight: see `rollout_starts`.
    """
    row = require(session, key, lock=True)
    life.after(row.state, verb)
    if verb in life.RISKY:
        life.require_reason(verb, reason)
    do = _DOING.get(verb)
    if do is not None:
        do(session, bell, row, actor=actor, reason=reason, now=now)
    else:
        carry_out(session, row, verb, actor=actor, reason=reason, now=now)
    return row


def revoke(
    session: Session, bell: Bell, model: str, label: str, *, actor: str, reason: str, now: datetime
) -> store.versions.VersionRow:
    """Revoke a version, end its rollouts, and take back what has been offered of it; again changes nothing.

    Raises:
        ReasonRequired: nothing was said.
        UnknownModel, NotFound, WrongState: as `versions.revoke`.
    """
    life.require_reason("revoke", reason)
    version = versions.revoke(session, model, label, actor=actor, reason=reason, now=now)
    for row in store.rollouts.of_version(session, version.id):
        verb = next((verb for verb in ("halt", "cancel") if row.state in life.VERBS[verb][0]), None)
        if verb is not None:
            act(session, bell, row.name, verb, actor=actor, reason=f"version revoked: {reason}", now=now)
    return version


def _resume(
    session: Session, _bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    require_ready(store.versions.version_by_id(session, row.version_id))
    carry_out(session, row, "resume", actor=actor, reason=reason, now=now)


def _promote(
    session: Session, _bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    """Open the next stage: what still holds this one back is passed over for a reason only."""
    if not rollout_gates.ready_for_promotion(session, row, now=now):
        life.require_reason("promote past what the stage still waits for", reason)
    # Behind the last stage there is the end; else its approval would be waited for without end.
    verb = "complete" if row.stage == len(row.stages) - 1 else "promote"
    if verb == "complete" and life.awaits_word(row.policy, row.activated_at):
        raise WrongState("its devices have not switched yet: activate it first", state=row.state)
    carry_out(session, row, verb, actor=actor, reason=reason, now=now)


def _activate(
    session: Session, _bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    if row.policy.get("activation") != "together":
        raise WrongState(
            "activate is for rollouts with `activation: together`; devices of this one switch by themselves",
            state=row.state,
        )
    if row.activated_at is not None:
        raise WrongState(f"it was activated at {row.activated_at:%Y-%m-%d %H:%M:%S} UTC", state=row.state)
    carry_out(session, row, "activate", actor=actor, reason=reason, now=now)


def _roll_back(
    session: Session, bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    """Bring devices back; a way that nobody had rehearsed is built meanwhile, devices do not wait for it."""
    carry_out(session, row, "rollback", actor=actor, reason=reason, now=now)
    rehearsal.ask(session, bell, row)


_DOING = {
    "start": rollout_starts.start,
    "approve": rollout_starts.approve,
    "resume": _resume,
    "promote": _promote,
    "activate": _activate,
    "rollback": _roll_back,
}
"""Verbs with rules of their own; the others only change the state."""
