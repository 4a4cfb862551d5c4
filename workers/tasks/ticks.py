"""What beat asks for again and again. Each tick may be lost, doubled or late: the next one does the same."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service import database
from service.jobs import DELIVER_WEBHOOK
from service.observability import log
from service.operations import (
    answers,
    attempts,
    events,
    jobs,
    patch_plan,
    rollout_gates,
    rollout_starts,
    rollouts,
    rollups,
    uploads,
    webhooks,
)
from service.tokens import utc_now
from workers.context import WorkerContext
from workers.tasks import bells

UPLOAD_LIFETIME = timedelta(days=3)
PARTITIONS_AHEAD = 8
_ROLLOUTS_LOCK = 7_263_514_003
_SWEEP_LOCK = 7_263_514_004
_PATCHES_LOCK = 7_263_514_007


def evaluate_rollouts(context: WorkerContext) -> None:
    """Start what is due, then look at the gates of every running rollout, each in a transaction of its own."""
    _start_due(context)
    with database.read_only(context.engine) as session:
        waiting = rollouts.list_watched(session, now=utc_now())
    for rollout_id in waiting:
        with database.transaction(context.engine) as session:
            if not database.alone(session, _ROLLOUTS_LOCK):
                return
            verdict = rollout_gates.evaluate(session, rollout_id, now=utc_now())
        if verdict is not None and verdict.outcome != "hold":
            log("gates").info(
                "rollout.verdict", rollout=str(rollout_id), outcome=verdict.outcome, why=verdict.reason
            )


def _start_due(context: WorkerContext) -> None:
    with database.read_only(context.engine) as session:
        waiting = rollouts.list_scheduled(session)
    for rollout_id in waiting:
        with database.transaction(context.engine) as session:
            if not database.alone(session, _ROLLOUTS_LOCK):
                return
            started = rollout_starts.start_due(session, context.bell, rollout_id, now=utc_now())
        if started:
            log("gates").info("rollout.started", rollout=str(rollout_id))


def ring_for_webhooks(context: WorkerContext) -> None:
    """Ring for messages that are due: those that an operation has just written down, and those to be tried again."""
    with database.transaction(context.engine) as session:
        if database.alone(session, _SWEEP_LOCK):
            _ring(session, context, utc_now(), kind=DELIVER_WEBHOOK)


def plan_patches(context: WorkerContext) -> None:
    """Ask for patches that are worth it now, retire those that nobody can want, delete what was retired long ago."""
    now = utc_now()
    with database.transaction(context.engine) as session:
        if not database.alone(session, _PATCHES_LOCK):
            return
        asked = patch_plan.remake(session, context.bell, limit=context.settings.patch_limit, now=now)
        retired = patch_plan.retire(session, now=now)
    if asked or retired:
        log("patches").info("patches.planned", asked=len(asked), retired=len(retired))
    # Alone: an object store that is away must not undo the plan.
    with database.transaction(context.engine) as session:
        if database.alone(session, _PATCHES_LOCK):
            patch_plan.bury(session, context.blobs, now=now)


def sweep(context: WorkerContext) -> None:
    """Ring for lost jobs, count silent attempts, make tomorrow's partitions, fold old counts, let old uploads go."""
    now = utc_now()
    with database.transaction(context.engine) as session:
        if not database.alone(session, _SWEEP_LOCK):
            return
        _ring(session, context, now)
        webhooks.forget(session, now=now)
        answers.forget(session, now=now)
        attempts.expire(session, now=now)
        events.prepare_partitions(session, days=PARTITIONS_AHEAD)
    with database.transaction(context.engine) as session:
        if database.alone(session, _SWEEP_LOCK):
            rollups.fold(session, now=now)
    # Last and alone: an object store that is away must not keep jobs and leases waiting.
    with database.transaction(context.engine) as session:
        if database.alone(session, _SWEEP_LOCK):
            uploads.expire(session, context.blobs, before=now - UPLOAD_LIFETIME)


def _ring(session: Session, context: WorkerContext, now: datetime, *, kind: str | None = None) -> None:
    for job in jobs.sweep(session, context.bell, now=now, kind=kind):
        _, bury = bells.HANDLERS[job.kind]
        bury(session, job.args, job.problem)
