"""Background work and what keeps it exact; the audit log; idempotency keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Serial, Table


class JobRow(Table):
    """One piece of work. The row is the truth; a Celery message is only a bell."""

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
    rung_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    finished_at: Mapped[datetime | None]


class AuditRow(Table):
    """Who did what and why; each row's hash covers the one before, so that a gap shows."""

    __tablename__ = "audit_log"

    id: Mapped[Serial]
    at: Mapped[datetime]
    actor: Mapped[str]
    verb: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)


class IdempotencyKeyRow(Table):
    """The answer to a request that may come again.

    Attributes:
        body: the answer as JSON; absent where it had none.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]


def job(session: Session, job_id: UUID) -> JobRow | None:
    """A job by its id."""
    return session.get(JobRow, job_id)


def job_by_key(session: Session, key: str) -> JobRow | None:
    """The job for a piece of work."""
    return session.scalar(select(JobRow).where(JobRow.key == key))


def jobs(session: Session, *, state: str | None = None, limit: int = 100) -> Sequence[JobRow]:
    """Jobs, newest first."""
    query = select(JobRow).order_by(JobRow.created_at.desc()).limit(limit)
    return session.scalars(query if state is None else query.where(JobRow.state == state)).all()


def last_heard(session: Session, queue: str) -> datetime | None:
    """When a worker of a queue last ended a job."""
    return session.scalar(select(func.max(JobRow.finished_at)).where(JobRow.queue == queue))


def claim(
    session: Session, job_id: UUID, *, owner: str, now: datetime, lease: timedelta, max_attempts: int
) -> JobRow | None:
    """Take a job that is due or whose worker went silent; None when somebody else has it, or too many had it."""
    orphaned = (JobRow.state == "running") & (JobRow.lease_until < now) & (JobRow.attempts < max_attempts)
    free = or_(JobRow.state == "queued", orphaned)
    query = (
        update(JobRow)
        .where(JobRow.id == job_id, free, JobRow.run_after <= now)
        .values(
            state="running",
            owner=owner,
            lease_until=now + lease,
            attempts=JobRow.attempts + 1,
            fence=JobRow.fence + 1,
        )
        .returning(JobRow)
    )
    return session.scalar(query, execution_options={"populate_existing": True})


def renew(session: Session, job_id: UUID, fence: int, *, until: datetime, progress: dict[str, Any]) -> bool:
    """Keep a job for longer; False when it is no longer ours."""
    query = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.fence == fence, JobRow.state == "running")
        .values(lease_until=until, progress=progress)
        .returning(JobRow.id)
    )
    return session.scalar(query) is not None


def held(session: Session, job_id: UUID, fence: int) -> JobRow | None:
    """The job, locked, if we still own it."""
    return session.scalar(
        select(JobRow)
        .where(JobRow.id == job_id, JobRow.fence == fence, JobRow.state == "running")
        .with_for_update()
    )


def due(
    session: Session, *, now: datetime, silent_since: datetime, kind: str | None = None, limit: int = 500
) -> Sequence[JobRow]:
    """Jobs that should be running and are not: never rung, rung in vain, or orphaned; locked, skipping held ones."""
    waiting = (JobRow.state == "queued") & or_(JobRow.rung_at.is_(None), JobRow.rung_at < silent_since)
    orphaned = (JobRow.state == "running") & (JobRow.lease_until < now)
    query = (
        select(JobRow)
        .where(JobRow.run_after <= now, or_(waiting, orphaned))
        .order_by(JobRow.run_after)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query if kind is None else query.where(JobRow.kind == kind)).all()


def counts(session: Session) -> dict[str, int]:
    """Jobs per state."""
    return dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all())


def last_audit(session: Session) -> AuditRow | None:
    """The newest entry of the audit log."""
    return session.scalar(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))


def audit(
    session: Session,
    *,
    after: int = 0,
    before: int | None = None,
    subject: str | None = None,
    limit: int = 200,
) -> Sequence[AuditRow]:
    """Entries of the audit log between two ids, oldest first: the oldest ones, or with `before` the newest."""
    query = select(AuditRow).where(AuditRow.id > after).limit(limit)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    if before is None:
        return session.scalars(query.order_by(AuditRow.id)).all()
    newest = session.scalars(query.where(AuditRow.id < before).order_by(AuditRow.id.desc())).all()
    return list(reversed(newest))


def kept_answer(session: Session, key: str, actor: str) -> IdempotencyKeyRow | None:
    """The answer that was given to somebody under a key."""
    return session.get(IdempotencyKeyRow, (key, actor))


def forget_answers(session: Session, *, before: datetime) -> None:
    """Delete answers given before a moment."""
    session.execute(delete(IdempotencyKeyRow).where(IdempotencyKeyRow.created_at < before))
