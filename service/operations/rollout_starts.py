"""How a rollout comes to run: approved by enough people, at its time, with its way back rehearsed.

Writes `rollouts`, `rollout_events`, `approvals`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.domain import rollouts as life
from service.domain.policy import parse_policy
from service.errors import (
    AlreadyApproved,
    OwnApproval,
    RollbackNotRehearsed,
    RolloutsFight,
    VersionNotReady,
)
from service.jobs import Bell
from service.operations import fights, rehearsal
from service.operations.rollout_effects import carry_out
from service.operations.rollouts import require_ready

CLOCK = "schedule"
"""Who starts a rollout whose time has come."""
LOOK_AGAIN_S = 30


def start(
    session: Session, bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    """Start a locked draft, or put it where it waits; start a scheduled one before its time.

    Raises:
        VersionNotReady: the version is no longer ready.
        RollbackNotRehearsed: asked to start at once what still waits for its way back.
        RolloutsFight: another rollout is in the way.
    """
    require_ready(store.versions.version_by_id(session, row.version_id))
    if row.state == "draft" and parse_policy(row.policy).approvals:
        carry_out(session, row, "submit", actor=actor, reason=reason, now=now)
        row.waits_for = _votes_missing(session, row)
    elif row.state == "draft":
        _go_or_wait(session, bell, row, actor=actor, reason=reason, now=now)
    else:
        missing = _unrehearsed(session, bell, row)
        if missing:
            raise RollbackNotRehearsed(
                f"patches back are still being made: {', '.join(missing)}; it starts by itself once they are there",
                retry_after_s=LOOK_AGAIN_S,
                missing=missing,
            )
        fights.require_peace(session, row)
        carry_out(session, row, "start", actor=actor, reason=reason, now=now)


def approve(
    session: Session, bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    """Write one person's agreement down; the last one that is needed starts the rollout, or schedules it.

    Raises:
        OwnApproval: the author's, or of who changed the draft, with whatever token.
        AlreadyApproved: the same person's again, with whatever token.
        VersionNotReady: as `start`, with the last one.
    """
    _require_another(session, row, actor)
    session.add(store.rollouts.ApprovalRow(rollout_id=row.id, actor=actor, at=now, reason=reason))
    session.flush()
    carry_out(session, row, "approve", actor=actor, reason=reason, now=now)
    row.waits_for = _votes_missing(session, row)
    if not row.waits_for:
        require_ready(store.versions.version_by_id(session, row.version_id))
        try:
            _go_or_wait(session, bell, row, actor=actor, reason=reason, now=now)
        except RolloutsFight as refusal:
            # The person who agrees is not the one to settle it: their word counts, and it starts once it can.
            carry_out(session, row, "schedule", actor=actor, reason=reason, now=now)
            row.waits_for = refusal.detail


def _require_another(session: Session, row: store.rollouts.RolloutRow, actor: str) -> None:
    """Refuse whoever has had a part in it already: tokens are many, people count."""
    wrote = store.rollouts.authors(session, row)
    given = {given.actor for given in store.rollouts.approvals(session, row.id)}
    people = store.devices.people(session, {actor, *wrote, *given})
    who = actor if people[actor] == actor else f"{actor} is a token of {people[actor]}, who"
    if people[actor] in {people[name] for name in wrote}:
        raise OwnApproval(
            f"{who} wrote this rollout; somebody else approves it, with a token of their own", field="actor"
        )
    if people[actor] in {people[name] for name in given}:
        raise AlreadyApproved(f"{who} has approved already; it needs different people", field="actor")


def start_due(session: Session, bell: Bell, rollout_id: UUID, *, now: datetime) -> bool:
    """Start a scheduled rollout if nothing is missing any more; what is in the way is written down.

    Returns:
        Whether it runs now. One whose version is not ready any more is cancelled.
    """
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    if row is None or row.state != "scheduled" or _too_early(row, now):
        return False
    try:
        require_ready(store.versions.version_by_id(session, row.version_id))
        waits_for = _what_it_waits_for(session, bell, row, now)
        if not waits_for:
            fights.require_peace(session, row)
    except VersionNotReady as refusal:
        carry_out(session, row, "cancel", actor=CLOCK, reason=refusal.detail, now=now)
        return False
    except RolloutsFight as refusal:
        waits_for = refusal.detail
    if not waits_for:
        carry_out(session, row, "start", actor=CLOCK, reason=row.reason, now=now)
    elif row.waits_for != waits_for:  # each write makes every process read its snapshot again
        row.waits_for = waits_for
    return not waits_for


def _go_or_wait(
    session: Session, bell: Bell, row: store.rollouts.RolloutRow, *, actor: str, reason: str, now: datetime
) -> None:
    waits_for = _what_it_waits_for(session, bell, row, now)
    if not waits_for:
        fights.require_peace(session, row)
        if row.state == "awaiting_approval":
            row.state = life.after(row.state, "schedule")
        carry_out(session, row, "start", actor=actor, reason=reason, now=now)
        return
    carry_out(session, row, "schedule", actor=actor, reason=reason, now=now)
    row.waits_for = waits_for


def _what_it_waits_for(session: Session, bell: Bell, row: store.rollouts.RolloutRow, now: datetime) -> str:
    missing = _unrehearsed(session, bell, row)  # asked for at once, so that they are there in time
    if _too_early(row, now):
        return f"its time, {parse_policy(row.policy).starts_at:%Y-%m-%d %H:%M} UTC"
    return f"patches back: {', '.join(missing)}" if missing else ""


def _unrehearsed(session: Session, bell: Bell, row: store.rollouts.RolloutRow) -> list[str]:
    return rehearsal.ask(session, bell, row) if rehearsal.wanted(row) else []


def _too_early(row: store.rollouts.RolloutRow, now: datetime) -> bool:
    starts_at = parse_policy(row.policy).starts_at
    return starts_at is not None and now < starts_at


def _votes_missing(session: Session, row: store.rollouts.RolloutRow) -> str:
    given = len(store.rollouts.approvals(session, row.id))
    needed = parse_policy(row.policy).approvals
    return (
        f"approval by {needed - given} of {needed} people other than {row.created_by}"
        if given < needed
        else ""
    )
