"""Run one job from claim to end: handler, heartbeat, results, failure."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.errors import ServiceError
from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.observability import log
from service.operations.platform import jobs as job_operations
from workers.context import WorkerContext

_log = log("worker")


class LeaseLost(Exception):
    """Another worker owns the job now; the results of this one are discarded."""


class InputRejected(Exception):
    """The job's input is invalid, so a retry would fail in the same way.

    Attributes:
        problem: `code`, `detail`, and `field` if one field is at fault.
    """

    def __init__(self, code: str, detail: str, field_name: str | None = None) -> None:
        """Describe the fault of the input."""
        super().__init__(f"{code}: {detail}")
        self.problem = {"code": code, "detail": detail} | ({"field": field_name} if field_name else {})


@dataclass(slots=True)
class Job:
    """A job that this process has claimed.

    Attributes:
        args: the arguments given at enqueue time.
        fence: rises with every claim; writes with an older fence are refused.
        progress: bytes done and in total; stored by the next heartbeat.
        lease_lost: set when the lease could not be renewed.
    """

    context: WorkerContext
    id: UUID
    kind: str
    args: dict[str, Any]
    fence: int
    progress: dict[str, Any] = field(default_factory=dict)
    lease_lost: threading.Event = field(default_factory=threading.Event)

    def report_progress(self, done: int, total: int) -> None:
        """Record the progress in bytes.

        Raises:
            LeaseLost: another worker owns the job; stop working on it.
        """
        self.progress = {"done": done, "total": total}
        if self.lease_lost.is_set():
            raise LeaseLost

    @contextmanager
    def completion(self) -> Iterator[Session]:
        """The job's last transaction: it stores the results and marks the job done, or does neither.

        Raises:
            LeaseLost: another worker owns the job; the transaction is rolled back.
        """
        with database.transaction(self.context.engine) as session:
            yield session
            if not job_operations.complete(session, self.id, self.fence, now=utc_now()):
                raise LeaseLost


Handler = Callable[[Job], None]
OnDead = Callable[[Session, dict[str, Any], dict[str, Any]], None]
"""(session, args, problem): mark what depends on a dead job as failed, in the transaction that ends the job."""


def run_job(context: WorkerContext, job_id: UUID, handlers: Mapping[str, tuple[Handler, OnDead]]) -> None:
    """Claim a job and run its handler. A duplicate, late or unknown id does nothing."""
    lease = timedelta(seconds=context.settings.job_lease_s)
    with database.transaction(context.engine) as session:
        row = job_operations.claim(session, job_id, owner=context.worker_name, now=utc_now(), lease=lease)
    if row is None:
        return
    job = Job(context, row.id, row.kind, row.args, row.fence)
    handler, on_dead = handlers[row.kind]
    with _heartbeat(job, lease):
        _execute(job, handler, on_dead)


def _execute(job: Job, handler: Handler, on_dead: OnDead) -> None:
    started = time.monotonic()
    try:
        handler(job)
    except LeaseLost:
        _log.warning("job.lease_lost", job=str(job.id), kind=job.kind)
    except InputRejected as error:
        _log.info("job.rejected", job=str(job.id), kind=job.kind, problem=error.problem)
        _fail(job, error.problem, on_dead, retryable=False)
    except Exception as error:  # noqa: BLE001 - a handler's error must end its job, not the worker
        problem = _problem(error)
        _log.warning("job.failed", job=str(job.id), kind=job.kind, problem=problem, exc_info=error)
        _fail(job, problem, on_dead, retryable=True)
    else:
        _log.info("job.done", job=str(job.id), kind=job.kind, seconds=round(time.monotonic() - started, 3))


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, ServiceError):
        return {"code": error.code, "detail": error.detail}
    return {"code": "internal", "detail": f"{type(error).__name__}: {error}"[:500]}


def _fail(job: Job, problem: dict[str, Any], on_dead: OnDead, *, retryable: bool) -> None:
    """Record the failure and, after the last attempt, call `on_dead` in the same transaction.

    Nothing is written if another worker owns the job: that worker may still succeed.
    """
    with database.transaction(job.context.engine) as session:
        if job_operations.fail(session, job.id, job.fence, now=utc_now(), error=problem, retryable=retryable):
            on_dead(session, job.args, problem)


@contextmanager
def _heartbeat(job: Job, lease: timedelta) -> Iterator[None]:
    """Renew the lease from a thread, three times per lease period."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease.total_seconds() / 3):
            if not _renew_lease(job, lease):
                job.lease_lost.set()
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _renew_lease(job: Job, lease: timedelta) -> bool:
    try:
        with database.transaction(job.context.engine) as session:
            return job_operations.renew(
                session, job.id, job.fence, until=utc_now() + lease, progress=job.progress
            )
    except (SQLAlchemyError, OSError) as error:
        # The lease may outlive a short outage; the fence decides in the last transaction.
        _log.warning("job.heartbeat_missed", job=str(job.id), error=type(error).__name__)
        return True
