"""Starting rollouts: approvals, start time, and rollback patches. Writes `approvals`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import lifecycle
from service.domain.rollouts.policy import parse_policy
from service.errors import (
    AlreadyApproved,
    RollbackPatchesPending,
    RolloutConflict,
    SelfApproval,
    VersionNotReady,
)
from service.infrastructure.jobs import JobNotifier
from service.operations.rollouts import conflicts, rollback_patches
from service.operations.rollouts.records import require_ready_version
from service.operations.rollouts.transitions import apply_transition

SCHEDULER = "schedule"
"""The actor that starts rollouts at their start time."""
RETRY_AFTER_S = 30


def start(
    session: Session,
    notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Start a locked draft or submit it for approval; start a scheduled rollout before its time.

    Raises:
        VersionNotReady: the version is no longer ready.
        RollbackPatchesPending: a scheduled rollout still waits for its rollback patches.
        RolloutConflict: another rollout has to end first.
    """
    require_ready_version(store.versions.version_by_id(session, row.version_id))
    if row.state == "draft" and parse_policy(row.policy).approvals:
        apply_transition(session, row, "submit", actor=actor, reason=reason, now=now)
        row.waiting_for = _missing_approvals(session, row)
    elif row.state == "draft":
        _start_or_schedule(session, notifier, row, actor=actor, reason=reason, now=now)
    else:
        missing = _pending_rollback_patches(session, notifier, row)
        if missing:
            raise RollbackPatchesPending(
                f"rollback patches are not built yet: {', '.join(missing)}; the rollout starts once they are",
                retry_after_s=RETRY_AFTER_S,
                missing=missing,
            )
        conflicts.require_none(session, row)
        apply_transition(session, row, "start", actor=actor, reason=reason, now=now)


def approve(
    session: Session,
    notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Record an approval; the last required one starts or schedules the rollout.

    Raises:
        SelfApproval: the person created the rollout or changed its draft, with any token.
        AlreadyApproved: the person has approved it already, with any token.
        VersionNotReady: on the last approval, as `start`.
    """
    _require_independent_approver(session, row, actor)
    session.add(store.rollouts.ApprovalRow(rollout_id=row.id, actor=actor, at=now, reason=reason))
    session.flush()
    apply_transition(session, row, "approve", actor=actor, reason=reason, now=now)
    row.waiting_for = _missing_approvals(session, row)
    if not row.waiting_for:
        require_ready_version(store.versions.version_by_id(session, row.version_id))
        try:
            _start_or_schedule(session, notifier, row, actor=actor, reason=reason, now=now)
        except RolloutConflict as error:
            # The approver cannot resolve the conflict, so the approval counts and the rollout starts later.
            apply_transition(session, row, "schedule", actor=actor, reason=reason, now=now)
            row.waiting_for = error.detail


def _require_independent_approver(session: Session, row: store.rollouts.RolloutRow, actor: str) -> None:
    """Compare people instead of tokens, because one person may have several tokens."""
    authors = store.rollouts.authors(session, row)
    approvers = {approval.actor for approval in store.rollouts.approvals(session, row.id)}
    people = store.tokens.people_behind_tokens(session, {actor, *authors, *approvers})
    name = actor if people[actor] == actor else f"{people[actor]} (token {actor})"
    if people[actor] in {people[author] for author in authors}:
        raise SelfApproval(
            f"{name} has written this rollout; another person has to approve it with a token of their own",
            field="actor",
        )
    if people[actor] in {people[approver] for approver in approvers}:
        raise AlreadyApproved(
            f"{name} has approved this rollout already; different people are needed", field="actor"
        )


def start_due(session: Session, notifier: JobNotifier, rollout_id: UUID, *, now: datetime) -> bool:
    """Start a scheduled rollout if all conditions are met, otherwise record what it waits for.

    A rollout whose version is no longer ready is cancelled.

    Returns:
        Whether the rollout was started.
    """
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    if row is None or row.state != "scheduled" or _before_start_time(row, now):
        return False
    try:
        require_ready_version(store.versions.version_by_id(session, row.version_id))
        waiting_for = _unmet_conditions(session, notifier, row, now)
        if not waiting_for:
            conflicts.require_none(session, row)
    except VersionNotReady as error:
        apply_transition(session, row, "cancel", actor=SCHEDULER, reason=error.detail, now=now)
        return False
    except RolloutConflict as error:
        waiting_for = error.detail
    if not waiting_for:
        apply_transition(session, row, "start", actor=SCHEDULER, reason=row.reason, now=now)
    elif row.waiting_for != waiting_for:  # Every write makes all API processes reload their snapshot.
        row.waiting_for = waiting_for
    return not waiting_for


def _start_or_schedule(
    session: Session,
    notifier: JobNotifier,
    row: store.rollouts.RolloutRow,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    waiting_for = _unmet_conditions(session, notifier, row, now)
    if not waiting_for:
        conflicts.require_none(session, row)
        if row.state == "awaiting_approval":
            row.state = lifecycle.next_state(row.state, "schedule")
        apply_transition(session, row, "start", actor=actor, reason=reason, now=now)
        return
    apply_transition(session, row, "schedule", actor=actor, reason=reason, now=now)
    row.waiting_for = waiting_for


def _unmet_conditions(
    session: Session, notifier: JobNotifier, row: store.rollouts.RolloutRow, now: datetime
) -> str:
    # Patches are requested before the start time, so that they are ready by then.
    missing = _pending_rollback_patches(session, notifier, row)
    if _before_start_time(row, now):
        return f"start time {parse_policy(row.policy).starts_at:%Y-%m-%d %H:%M} UTC"
    return f"rollback patches: {', '.join(missing)}" if missing else ""


def _pending_rollback_patches(
    session: Session, notifier: JobNotifier, row: store.rollouts.RolloutRow
) -> list[str]:
    return rollback_patches.request(session, notifier, row) if rollback_patches.is_required(row) else []


def _before_start_time(row: store.rollouts.RolloutRow, now: datetime) -> bool:
    starts_at = parse_policy(row.policy).starts_at
    return starts_at is not None and now < starts_at


def _missing_approvals(session: Session, row: store.rollouts.RolloutRow) -> str:
    given = len(store.rollouts.approvals(session, row.id))
    needed = parse_policy(row.policy).approvals
    if given >= needed:
        return ""
    return f"approval by {needed - given} of {needed} people other than {row.created_by}"
