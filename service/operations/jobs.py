"""Background work: asked for, claimed, kept alive, finished. Writes `jobs`.

Every write of a worker carries the fence that its claim gave it, so a worker that was thought dead
and comes back changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.database import after_commit
from service.errors import NotFound, WrongState
from service.jobs import DELIVER_WEBHOOK, QUEUES, Bell

BACKOFF = (timedelta(seconds=30), timedelta(minutes=2))
"""Pauses between the attempts at a job; one attempt more than there are pauses."""
_PATIENT = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800]
PATIENCE = {DELIVER_WEBHOOK: tuple(timedelta(seconds=pause) for pause in _PATIENT)}
"""Kinds with pauses of their own: whoever is to be told may be away for a day."""
JITTER = 0.2
"""Pauses are up to this share longer, so that what failed together does not come again together."""
RING_AGAIN_AFTER = timedelta(seconds=30)


def enqueue(session: Session, bell: Bell, kind: str, key: str, args: dict[str, Any]) -> UUID:
    """Ask for work, once per `key`; the bell rings after the commit.

    A job of the same key that is done or dead is started afresh; one that waits or runs stays.
    """
    job_id = write_down(session, kind, key, args)
    after_commit(session, lambda: bell.ring(job_id, kind))
    return job_id


def write_down(session: Session, kind: str, key: str, args: dict[str, Any]) -> UUID:
    """The same without a bell: a tick rings for it soon."""
    table = store.jobs.JobRow
    fresh = {"kind": kind, "queue": QUEUES[kind], "args": args}
    query = insert(table).values(id=uuid4(), key=key, **fresh)
    query = query.on_conflict_do_update(
        index_elements=[table.key],
        set_={**fresh, "state": "queued", "attempts": 0, "error": None, "rung_at": None, "finished_at": None},
        where=table.state.in_(("done", "dead")),
    )
    session.execute(query)
    row = store.jobs.job_by_key(session, key)
    if row is None:
        raise NotFound(f"the job {key} went away")
    return row.id


def claim(
    session: Session, job_id: UUID, *, owner: str, now: datetime, lease: timedelta
) -> store.jobs.JobRow | None:
    """Take a job; None when it is done, elsewhere, or not due yet."""
    row = store.jobs.job(session, job_id)
    if row is None:
        return None
    return store.jobs.claim(
        session, job_id, owner=owner, now=now, lease=lease, max_attempts=max_attempts(row.kind)
    )


def renew(session: Session, job_id: UUID, fence: int, *, until: datetime, progress: dict[str, Any]) -> bool:
    """Say that we are still at it; False when the job is no longer ours."""
    return store.jobs.renew(session, job_id, fence, until=until, progress=progress)


def finish(session: Session, job_id: UUID, fence: int, *, now: datetime) -> bool:
    """Close a job as done; False when it is no longer ours, and then nothing of it may be kept."""
    row = store.jobs.held(session, job_id, fence)
    if row is None:
        return False
    row.state, row.finished_at, row.owner, row.lease_until, row.error = "done", now, None, None, None
    return True


def fail(
    session: Session, job_id: UUID, fence: int, *, now: datetime, error: dict[str, Any], retryable: bool
) -> bool:
    """Put a job back for later, or declare it dead; True when it is dead."""
    row = store.jobs.held(session, job_id, fence)
    if row is None:
        return False
    row.error, row.owner, row.lease_until = error, None, None
    pauses = PATIENCE.get(row.kind, BACKOFF)
    if retryable and row.attempts <= len(pauses):
        row.state, row.rung_at = "queued", None
        row.run_after = now + pauses[row.attempts - 1] * (1 + JITTER * (row.id.int % 1000) / 1000)
        return False
    row.state, row.finished_at = "dead", now
    return True


def requeue(session: Session, bell: Bell, job_id: UUID, *, now: datetime) -> store.jobs.JobRow:
    """Give a dead job another round of attempts.

    Raises:
        NotFound: no such job.
        WrongState: it is not dead.
    """
    row = store.jobs.job(session, job_id)
    if row is None:
        raise NotFound(f"there is no job {job_id}")
    if row.state != "dead":
        raise WrongState(f"only a dead job is requeued; this one is {row.state}", state=row.state)
    row.state, row.attempts, row.run_after, row.rung_at, row.finished_at = "queued", 0, now, None, None
    after_commit(session, lambda: bell.ring(row.id, row.kind))
    return row


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was lost too often."""

    kind: str
    args: dict[str, Any]
    problem: dict[str, Any]


def max_attempts(kind: str) -> int:
    """How often a job of some kind is tried."""
    return len(PATIENCE.get(kind, BACKOFF)) + 1


def sweep(session: Session, bell: Bell, *, now: datetime, kind: str | None = None) -> list[DeadJob]:
    """Ring again for what should run and does not; return what was lost too often to be tried again.

    Args:
        session: a transaction.
        bell: rung after the commit.
        now: what is due.
        kind: look at jobs of this kind only.
    """
    dead = []
    for row in store.jobs.due(session, now=now, silent_since=now - RING_AGAIN_AFTER, kind=kind):
        if row.state == "running" and row.attempts >= max_attempts(row.kind):
            problem = {"code": "worker_lost", "detail": f"{row.attempts} workers ended without a word"}
            row.state, row.finished_at, row.owner, row.error = "dead", now, None, problem
            dead.append(DeadJob(row.kind, row.args, problem))
        else:
            row.rung_at = now
            after_commit(session, _ringer(bell, row))
    return dead


def _ringer(bell: Bell, row: store.jobs.JobRow) -> Callable[[], None]:
    job_id, kind = row.id, row.kind
    return lambda: bell.ring(job_id, kind)


def list_all(session: Session, *, state: str | None) -> Sequence[store.jobs.JobRow]:
    """Jobs, of one state on demand, newest first."""
    return store.jobs.jobs(session, state=state)
