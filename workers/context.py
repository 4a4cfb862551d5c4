"""What a worker process holds, made once; and how one job is run from claim to end."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service import database, jobs
from service.blobs import BlobStore, S3BlobStore
from service.config import Settings
from service.errors import ServiceError
from service.jobs import Bell
from service.observability import log
from service.operations import jobs as job_operations
from service.tokens import utc_now

_log = log("worker")


class JobLost(Exception):
    """The lease has gone to somebody else; whatever this worker made is not to be kept."""


class Rejected(Exception):
    """The input is at fault: trying again would not help.

    Attributes:
        problem: `code`, `detail`, and `field` where there is one.
    """

    def __init__(self, code: str, detail: str, field_name: str | None = None) -> None:
        """Say what is wrong with the input."""
        super().__init__(f"{code}: {detail}")
        self.problem = {"code": code, "detail": detail} | ({"field": field_name} if field_name else {})


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker process."""

    settings: Settings
    engine: Engine
    blobs: BlobStore
    bell: Bell
    name: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "WorkerContext":
        """Connect to everything that jobs need."""
        return cls(
            settings=settings,
            engine=database.engine_for(settings.database_url),
            blobs=S3BlobStore(settings),
            bell=Bell(jobs.broker(settings.redis_url.get_secret_value())),
            name=f"{socket.gethostname()}:{os.getpid()}",
        )


@dataclass(slots=True)
class Job:
    """A job while this process has it.

    Attributes:
        args: as they were enqueued.
        fence: grows with every claim; writes of an older claim are refused.
        progress: shown to people; written with the next heartbeat.
        lost: set when the lease could not be renewed.
    """

    context: WorkerContext
    id: UUID
    kind: str
    args: dict[str, Any]
    fence: int
    progress: dict[str, Any] = field(default_factory=dict)
    lost: threading.Event = field(default_factory=threading.Event)

    def report(self, done: int, total: int) -> None:
        """Say how far along we are, in bytes.

        Raises:
            JobLost: somebody else has the job now; stop working on it.
        """
        self.progress = {"done": done, "total": total}
        if self.lost.is_set():
            raise JobLost

    @contextmanager
    def closing(self) -> Iterator[Session]:
        """The last transaction of the job: its results and its end, both or neither.

        Raises:
            JobLost: somebody else has the job; nothing is kept.
        """
        with database.transaction(self.context.engine) as session:
            yield session
            if not job_operations.finish(session, self.id, self.fence, now=utc_now()):
                raise JobLost


Handler = Callable[[Job], None]
Bury = Callable[[Session, dict[str, Any], dict[str, Any]], None]
"""(session, args, problem): put down what depends on a job that will never succeed, in the job's last transaction."""


def run_job(context: WorkerContext, job_id: UUID, handlers: Mapping[str, tuple[Handler, Bury]]) -> None:
    """Claim a job and carry it through; doubled, late and lost messages end here harmlessly."""
    lease = timedelta(seconds=context.settings.job_lease_s)
    with database.transaction(context.engine) as session:
        row = job_operations.claim(session, job_id, owner=context.name, now=utc_now(), lease=lease)
    if row is None:
        return
    job = Job(context, row.id, row.kind, row.args, row.fence)
    handler, bury = handlers[row.kind]
    with _heartbeat(job, lease):
        _carry_through(job, handler, bury)


def _carry_through(job: Job, handler: Handler, bury: Bury) -> None:
    started = time.monotonic()
    try:
        handler(job)
    except JobLost:
        _log.warning("job.lost", job=str(job.id), kind=job.kind)
    except Rejected as error:
        _log.info("job.rejected", job=str(job.id), kind=job.kind, problem=error.problem)
        _fail(job, error.problem, bury, retryable=False)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its job, never the worker
        problem = _problem(error)
        _log.warning("job.failed", job=str(job.id), kind=job.kind, problem=problem, exc_info=error)
        _fail(job, problem, bury, retryable=True)
    else:
        _log.info("job.done", job=str(job.id), kind=job.kind, seconds=round(time.monotonic() - started, 3))


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, ServiceError):
        return {"code": error.code, "detail": error.detail}
    return {"code": "internal", "detail": f"{type(error).__name__}: {error}"[:500]}


def _fail(job: Job, problem: dict[str, Any], bury: Bury, *, retryable: bool) -> None:
    """Both or neither; and neither if the job has gone to somebody else, who may well succeed."""
    with database.transaction(job.context.engine) as session:
        if job_operations.fail(session, job.id, job.fence, now=utc_now(), error=problem, retryable=retryable):
            bury(session, job.args, problem)


@contextmanager
def _heartbeat(job: Job, lease: timedelta) -> Iterator[None]:
    """Renew the lease three times in its life, from a thread of its own."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease.total_seconds() / 3):
            if not _renew(job, lease):
                job.lost.set()
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _renew(job: Job, lease: timedelta) -> bool:
    try:
        with database.transaction(job.context.engine) as session:
            return job_operations.renew(
                session, job.id, job.fence, until=utc_now() + lease, progress=job.progress
            )
    except (SQLAlchemyError, OSError) as error:
        # The lease may outlive a short outage; the last transaction decides.
        _log.warning("heartbeat.missed", job=str(job.id), error=type(error).__name__)
        return True
