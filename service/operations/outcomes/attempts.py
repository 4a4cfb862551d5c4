"""Attempts that the server closes: their lease has expired, or their rollout no longer offers the version."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.operations.outcomes import attempt_statements as statements

STAGED_LEASE = timedelta(days=1)
"""How long a staged attempt may go without a report, before activation (then it is extended) and after it."""

_COUNT_OVERDUE = text("select count(*) from attempts where closed_at is null and lease_until < :now")


def time_out_overdue(session: Session, *, now: datetime) -> int:
    """Close attempts whose lease has expired as timed out; return how many were overdue.

    Staged attempts that wait for the activation of their rollout do not time out.
    """
    session.execute(statements.EXTEND_DEFERRED, {"now": now, "until": now + STAGED_LEASE})
    overdue = session.scalar(_COUNT_OVERDUE, {"now": now}) or 0
    if overdue:
        session.execute(statements.TIME_OUT, {"now": now, "state": "timed_out", "code": "lease_expired"})
    return int(overdue)


def cancel_open(session: Session, rollout_id: UUID, *, now: datetime) -> None:
    """Cancel the open attempts of a rollout; devices learn of it at their next poll."""
    values = {"now": now, "state": "cancelled", "code": "withdrawn", "rollout": rollout_id}
    session.execute(statements.CANCEL_ROLLOUT, values)


def cancel_device_class(session: Session, rollout_id: UUID, device_class: str, *, now: datetime) -> None:
    """Cancel the open attempts of one device class in a rollout."""
    values = {"now": now, "state": "cancelled", "code": "device_class_paused", "rollout": rollout_id}
    session.execute(statements.CANCEL_DEVICE_CLASS, values | {"device_class": device_class})


def extend_staged_leases(session: Session, rollout_id: UUID, *, now: datetime) -> None:
    """Give the staged attempts of a rollout a new lease, because it was activated and they time out from now on."""
    session.execute(statements.EXTEND_STAGED, {"rollout": rollout_id, "until": now + STAGED_LEASE})
