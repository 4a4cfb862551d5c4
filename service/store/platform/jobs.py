"""Background jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, func, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table


class JobRow(Table):
    """A background job. The row decides what is to be done; a Celery message only announces it.

    Attributes:
        key: identifies the work, so that requesting it twice makes one job.
        fence: rises with every claim; a worker with an old fence cannot write.
        notified_at: when a worker was last notified of it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state in ('queued','running','done','dead')", name="state"),
        Index("ix_jobs_due", "run_after", postgresql_where=text("state in ('queued','running')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    queue: Mapped[str]
    args: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default="queued")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    fence: Mapped[int] = mapped_column(server_default="0")
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    run_after: Mapped[Created]
    notified_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    finished_at: Mapped[datetime | None]


def job(session: Session, job_id: UUID) -> JobRow | None:
    """A job by its id."""
    return session.get(JobRow, job_id)


def job_by_key(session: Session, key: str) -> JobRow | None:
    """The job with that key."""
    return session.scalar(select(JobRow).where(JobRow.key == key))


def jobs(session: Session, *, state: str | None = None, limit: int = 100) -> Sequence[JobRow]:
    """Jobs, newest first, of one state if given."""
    query = select(JobRow).order_by(JobRow.created_at.desc()).limit(limit)
    return session.scalars(query if state is None else query.where(JobRow.state == state)).all()


def last_finished(session: Session, queue: str) -> datetime | None:
    """The time at which a worker last finished a job of a queue."""
    return session.scalar(select(func.max(JobRow.finished_at)).where(JobRow.queue == queue))


def owned(session: Session, job_id: UUID, fence: int) -> JobRow | None:
    """The job, locked, if the fence still owns it."""
    return session.scalar(
        select(JobRow)
        .where(JobRow.id == job_id, JobRow.fence == fence, JobRow.state == "running")
        .with_for_update()
    )


def due(
    session: Session, *, now: datetime, silent_since: datetime, kind: str | None = None, limit: int = 500
) -> Sequence[JobRow]:
    """Jobs that are due and not running: never notified, notified before `silent_since`, or with an expired lease.

    The rows are locked; rows that are locked already are skipped.
    """
    waiting = (JobRow.state == "queued") & or_(
        JobRow.notified_at.is_(None), JobRow.notified_at < silent_since
    )
    orphaned = (JobRow.state == "running") & (JobRow.lease_until < now)
    query = (
        select(JobRow)
        .where(JobRow.run_after <= now, or_(waiting, orphaned))
        .order_by(JobRow.run_after)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query if kind is None else query.where(JobRow.kind == kind)).all()
