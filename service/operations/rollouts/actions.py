"""What people do to rollouts: one verb each, with its own conditions."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import lifecycle
from service.errors import WrongState
from service.infrastructure.jobs import JobNotifier
from service.operations.releases import versions
from service.operations.rollouts import gates, rollback_patches, starts
from service.operations.rollouts.records import require, require_ready_version
from service.operations.rollouts.transitions import apply_transition


def perform(
    session: Session, notifier: JobNotifier, key: str, verb: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Start, approve, pause, resume, promote, activate, halt, roll back or cancel a rollout.

    Raises:
        NotFound: there is no such rollout.
        WrongState: the verb does not apply to its state.
        ReasonRequired: the verb needs a reason.
        VersionNotReady: the version is no longer ready.
        SelfApproval, AlreadyApproved, RollbackPatchesPending, RolloutConflict: see `starts`.
    """
    row = require(session, key, lock=True)
    lifecycle.next_state(row.state, verb)
    if verb in lifecycle.NEEDS_REASON:
        lifecycle.require_reason(verb, reason)
    handler = _HANDLERS.get(verb)
    if handler is not None:
        handler(session, notifier, row, actor=actor, reason=reason, now=now)
    else:
        apply_transition(session, row, verb, actor=actor, reason=reason, now=now)
    return row


def revoke_version(
    session: Session,
    notifier: JobNotifier,
    model: str,
    label: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> store.versions.VersionRow:
    """Revoke a version, end its rollouts, and cancel their open attempts. Repeating it changes nothing.

    Raises:
        ReasonRequired: the reason is empty.
        UnknownModel, NotFound, WrongState: as `versions.revoke`.
    """
    lifecycle.require_reason("revoking a version", reason)
    version = versions.revoke(session, model, label, actor=actor, reason=reason, now=now)
    for row in store.rollouts.of_version(session, version.id):
        verb = next(
            (verb for verb in ("halt", "cancel") if row.state in lifecycle.TRANSITIONS[verb][0]), None
        )
        if verb is not None:
            why = f"version revoked: {reason}"
            perform(session, notifier, row.name, verb, actor=actor, reason=why, now=now)
    return version


def _resume(
    session: Session,
    _notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    require_ready_version(store.versions.version_by_id(session, row.version_id))
    apply_transition(session, row, "resume", actor=actor, reason=reason, now=now)


def _promote(
    session: Session,
    _notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Open the next stage; skipping unmet requirements of the present one needs a reason."""
    if not gates.ready_for_promotion(session, row, now=now):
        lifecycle.require_reason("promoting before the requirements of the stage are met", reason)
    # After the last stage comes completion; otherwise its approval would be awaited forever.
    verb = "complete" if row.stage == len(row.stages) - 1 else "promote"
    if verb == "complete" and lifecycle.awaits_activation(row.policy, row.activated_at):
        raise WrongState("the rollout is not activated yet; activate it first", state=row.state)
    apply_transition(session, row, verb, actor=actor, reason=reason, now=now)


def _activate(
    session: Session,
    _notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    if row.policy.get("activation") != "deferred":
        raise WrongState(
            "only rollouts with `activation: deferred` are activated; devices of this one activate by themselves",
            state=row.state,
        )
    if row.activated_at is not None:
        raise WrongState(
            f"the rollout was already activated at {row.activated_at:%Y-%m-%d %H:%M:%S} UTC", state=row.state
        )
    apply_transition(session, row, "activate", actor=actor, reason=reason, now=now)


def _roll_back(
    session: Session,
    notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Roll back at once; devices do not wait for rollback patches that are still missing."""
    apply_transition(session, row, "rollback", actor=actor, reason=reason, now=now)
    rollback_patches.request(session, notifier, row)


_HANDLERS = {
    "start": starts.start,
    "approve": starts.approve,
    "resume": _resume,
    "promote": _promote,
    "activate": _activate,
    "rollback": _roll_back,
}
"""Verbs with conditions of their own; the others only change the state."""
