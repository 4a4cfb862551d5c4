"""Periodic tasks, sent by beat. A lost, duplicate or late run is harmless: the next one does the same work."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.jobs import DELIVER_WEBHOOK
from service.infrastructure.observability import log
from service.operations.outcomes import attempts, compaction, event_partitions
from service.operations.patching import planning
from service.operations.platform import idempotency, jobs, webhook_deliveries
from service.operations.releases import uploads
from service.operations.rollouts import gates, records, starts
from workers.context import WorkerContext
from workers.tasks import dispatch

UPLOAD_LIFETIME = timedelta(days=3)
PARTITIONS_AHEAD = 8
_ROLLOUTS_LOCK = 7_263_514_003
_SWEEP_LOCK = 7_263_514_004
_PATCHES_LOCK = 7_263_514_007


def evaluate_rollouts(context: WorkerContext) -> None:
    """Start the rollouts that are due and evaluate the gates of the running ones, one transaction for each."""
    _start_due_rollouts(context)
    with database.read_only(context.engine) as session:
        monitored = records.list_monitored(session, now=utc_now())
    for rollout_id in monitored:
        with database.transaction(context.engine) as session:
            if not database.try_advisory_lock(session, _ROLLOUTS_LOCK):
                return
            evaluation = gates.evaluate(session, rollout_id, now=utc_now())
        if evaluation is not None and evaluation.decision != "wait":
            log("gates").info(
                "rollout.gates_evaluated",
                rollout=str(rollout_id),
                outcome=evaluation.decision,
                why=evaluation.reason,
            )


def _start_due_rollouts(context: WorkerContext) -> None:
    with database.read_only(context.engine) as session:
        scheduled = records.list_scheduled(session)
    for rollout_id in scheduled:
        with database.transaction(context.engine) as session:
            if not database.try_advisory_lock(session, _ROLLOUTS_LOCK):
                return
            started = starts.start_due(session, context.notifier, rollout_id, now=utc_now())
        if started:
            log("gates").info("rollout.started", rollout=str(rollout_id))


def dispatch_webhooks(context: WorkerContext) -> None:
    """Notify workers of webhook deliveries that are due, first attempts and retries."""
    with database.transaction(context.engine) as session:
        if database.try_advisory_lock(session, _SWEEP_LOCK):
            _dispatch_due_jobs(session, context, utc_now(), kind=DELIVER_WEBHOOK)


def plan_patches(context: WorkerContext) -> None:
    """Request the patches that are worth building, retire unused ones and purge those retired long ago."""
    now = utc_now()
    with database.transaction(context.engine) as session:
        if not database.try_advisory_lock(session, _PATCHES_LOCK):
            return
        requested = planning.request_planned(
            session, context.notifier, limit=context.settings.max_patches_per_version, now=now
        )
        retired = planning.retire_unused(session, now=now)
    if requested or retired:
        log("patches").info("patches.planned", requested=len(requested), retired=len(retired))
    # A transaction of its own: an unreachable object store must not undo the plan.
    with database.transaction(context.engine) as session:
        if database.try_advisory_lock(session, _PATCHES_LOCK):
            planning.purge_retired(session, context.blobs, now=now)


def sweep(context: WorkerContext) -> None:
    """Requeue lost jobs, time out attempts, create partitions, compact counts, delete old data and uploads."""
    now = utc_now()
    with database.transaction(context.engine) as session:
        if not database.try_advisory_lock(session, _SWEEP_LOCK):
            return
        _dispatch_due_jobs(session, context, now)
        webhook_deliveries.delete_old(session, now=now)
        idempotency.delete_expired(session, now=now)
        attempts.time_out_overdue(session, now=now)
        event_partitions.create_partitions(session, days=PARTITIONS_AHEAD)
    with database.transaction(context.engine) as session:
        if database.try_advisory_lock(session, _SWEEP_LOCK):
            compaction.compact(session, now=now)
    # Last, in a transaction of its own: an unreachable object store must not delay jobs and leases.
    with database.transaction(context.engine) as session:
        if database.try_advisory_lock(session, _SWEEP_LOCK):
            uploads.abort_stale(session, context.blobs, before=now - UPLOAD_LIFETIME)


def _dispatch_due_jobs(
    session: Session, context: WorkerContext, now: datetime, *, kind: str | None = None
) -> None:
    for dead_job in jobs.sweep(session, context.notifier, now=now, kind=kind):
        _, on_dead = dispatch.HANDLERS[dead_job.kind]
        on_dead(session, dead_job.args, dead_job.problem)
