"""Background jobs: requested, claimed, kept alive, finished. Writes `jobs`.

Every write of a worker carries the fence of its claim. A worker whose lease expired and that continues later has an
old fence, so it changes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.errors import NotFound, WrongState
from service.infrastructure.database import after_commit
from service.infrastructure.jobs import DELIVER_WEBHOOK, QUEUES, JobNotifier

BACKOFF = (timedelta(seconds=30), timedelta(minutes=2))
"""Pauses between attempts; there is one attempt more than pauses."""
_WEBHOOK_BACKOFF_S = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800]
BACKOFF_BY_KIND = {DELIVER_WEBHOOK: tuple(timedelta(seconds=pause) for pause in _WEBHOOK_BACKOFF_S)}
"""Kinds with other pauses; a webhook receiver may be down for a day."""
JITTER = 0.2
"""Pauses are extended by up to this share, so that jobs that failed together do not retry together."""
RENOTIFY_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that will not be tried again."""

    kind: str
    args: dict[str, Any]
    problem: dict[str, Any]


def enqueue(session: Session, notifier: JobNotifier, kind: str, key: str, args: dict[str, Any]) -> UUID:
    """Request a job, once per `key`, and notify a worker after the commit; return its id.

    A finished or dead job with the same key starts again; a queued or running one is left alone.
    """
    job_id = insert_job(session, kind, key, args)
    after_commit(session, partial(notifier.notify, job_id, kind))
    return job_id


def insert_job(session: Session, kind: str, key: str, args: dict[str, Any]) -> UUID:
    """Like `enqueue`, but leave the notification to the next sweep."""
    table = store.jobs.JobRow
    fresh = {"kind": kind, "queue": QUEUES[kind], "args": args}
    reset = {"state": "queued", "attempts": 0, "error": None, "notified_at": None, "finished_at": None}
    query = insert(table).values(id=uuid4(), key=key, **fresh)
    query = query.on_conflict_do_update(
        index_elements=[table.key], set_={**fresh, **reset}, where=table.state.in_(("done", "dead"))
    )
    session.execute(query)
    row = store.jobs.job_by_key(session, key)
    if row is None:
        raise NotFound(f"the job {key} was deleted meanwhile; try again")
    return row.id


def claim(
    session: Session, job_id: UUID, *, owner: str, now: datetime, lease: timedelta
) -> store.jobs.JobRow | None:
    """Claim a job that is due, or whose lease has expired; None if another worker has it or it is finished."""
    found = store.jobs.job(session, job_id)
    if found is None:
        return None
    table = store.jobs.JobRow
    expired = (table.state == "running") & (table.lease_until < now)
    orphaned = expired & (table.attempts < max_attempts(found.kind))
    query = (
        update(table)
        .where(table.id == job_id, or_(table.state == "queued", orphaned), table.run_after <= now)
        .values(
            state="running",
            owner=owner,
            lease_until=now + lease,
            attempts=table.attempts + 1,
            fence=table.fence + 1,
        )
        .returning(table)
    )
    return session.scalar(query, execution_options={"populate_existing": True})


def renew(session: Session, job_id: UUID, fence: int, *, until: datetime, progress: dict[str, Any]) -> bool:
    """Extend the lease of a job and store its progress; False if the fence no longer owns it."""
    table = store.jobs.JobRow
    query = (
        update(table)
        .where(table.id == job_id, table.fence == fence, table.state == "running")
        .values(lease_until=until, progress=progress)
        .returning(table.id)
    )
    return session.scalar(query) is not None


def complete(session: Session, job_id: UUID, fence: int, *, now: datetime) -> bool:
    """Mark a job done; False if the fence no longer owns it, and then its results must be discarded."""
    row = store.jobs.owned(session, job_id, fence)
    if row is None:
        return False
    row.state, row.finished_at, row.owner, row.lease_until, row.error = "done", now, None, None, None
    return True


def fail(
    session: Session, job_id: UUID, fence: int, *, now: datetime, error: dict[str, Any], retryable: bool
) -> bool:
    """Queue a failed job again after a pause, or mark it dead; return whether it is dead."""
    row = store.jobs.owned(session, job_id, fence)
    if row is None:
        return False
    row.error, row.owner, row.lease_until = error, None, None
    pauses = BACKOFF_BY_KIND.get(row.kind, BACKOFF)
    if retryable and row.attempts <= len(pauses):
        row.state, row.notified_at = "queued", None
        row.run_after = now + pauses[row.attempts - 1] * (1 + JITTER * (row.id.int % 1000) / 1000)
        return False
    row.state, row.finished_at = "dead", now
    return True


def requeue(session: Session, notifier: JobNotifier, job_id: UUID, *, now: datetime) -> store.jobs.JobRow:
    """Queue a dead job again with a new set of attempts.

    Raises:
        NotFound: there is no such job.
        WrongState: it is not dead.
    """
    row = store.jobs.job(session, job_id)
    if row is None:
        raise NotFound(f"there is no job {job_id}")
    if row.state != "dead":
        raise WrongState(f"this job is {row.state}; only dead jobs can be queued again", state=row.state)
    row.state, row.attempts, row.run_after, row.notified_at, row.finished_at = "queued", 0, now, None, None
    after_commit(session, partial(notifier.notify, row.id, row.kind))
    return row


def max_attempts(kind: str) -> int:
    """How often a job of that kind is attempted."""
    return len(BACKOFF_BY_KIND.get(kind, BACKOFF)) + 1


def sweep(
    session: Session, notifier: JobNotifier, *, now: datetime, kind: str | None = None
) -> list[DeadJob]:
    """Notify workers again of jobs that should be running; return the jobs that are now dead.

    Args:
        session: the transaction.
        notifier: called after the commit.
        now: the current time.
        kind: only jobs of this kind.
    """
    dead = []
    for row in store.jobs.due(session, now=now, silent_since=now - RENOTIFY_AFTER, kind=kind):
        if row.state == "running" and row.attempts >= max_attempts(row.kind):
            problem = {"code": "worker_lost", "detail": f"all {row.attempts} attempts ended without a result"}
            row.state, row.finished_at, row.owner, row.error = "dead", now, None, problem
            dead.append(DeadJob(row.kind, row.args, problem))
        else:
            row.notified_at = now
            after_commit(session, partial(notifier.notify, row.id, row.kind))
    return dead


def list_all(session: Session, *, state: str | None) -> Sequence[store.jobs.JobRow]:
    """Jobs, newest first, of one state if given."""
    return store.jobs.jobs(session, state=state)


def delete_jobs(session: Session, job_ids: Collection[UUID]) -> None:
    """Delete jobs whose results are deleted too."""
    session.execute(delete(store.jobs.JobRow).where(store.jobs.JobRow.id.in_(job_ids)))
