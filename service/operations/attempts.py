"""What ends attempts from our side: leases that run out, rollouts that are withdrawn.

`attempts` and `rollups` are otherwise written by the hot path (`serving/`), in the same shape: an
attempt that closes is counted in the same statement, so that gates never scan events.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

PATIENCE = timedelta(days=1)
"""How long a staged attempt may be silent before it is looked at again, and after it was told to switch."""

_WAIT_ON = text(
    """
    update attempts a set lease_until = :until
    from rollouts r
    where a.closed_at is null and a.lease_until < :now and a.state = 'staged' and r.id = a.rollout_id
      and r.policy ->> 'activation' = 'together' and r.activated_at is null
    """
)
_WAKE = text(
    """
    update attempts set lease_until = greatest(lease_until, :until)
    where rollout_id = :rollout and closed_at is null and state = 'staged'
    """
)

_CLOSE = """
with closed as (
  update attempts set state = :state, closed_at = :now, code = :code
  where closed_at is null and {condition}
  returning rollout_id, stage, stratum, arm
)
insert into rollups (rollout_id, stage, stratum, arm, minute, {column})
select rollout_id, stage, stratum, arm, date_trunc('minute', cast(:now as timestamptz)), count(*)
from closed group by 1, 2, 3, 4
on conflict (rollout_id, stage, stratum, arm, minute)
do update set {column} = rollups.{column} + excluded.{column}
"""


def expire(session: Session, *, now: datetime) -> int:
    """Count attempts whose lease has run out as timed out; return how many.

    A device that has staged a version and waits for the word to switch is not silent, however long that takes.
    """
    session.execute(_WAIT_ON, {"now": now, "until": now + PATIENCE})
    query = _CLOSE.format(
        column="timed_out",
        condition="id in (select id from attempts where closed_at is null and lease_until < :now "
        "order by lease_until limit 5000 for update skip locked)",
    )
    silent = text("select count(*) from attempts where closed_at is null and lease_until < :now")
    waiting = session.scalar(silent, {"now": now}) or 0
    if waiting:
        session.execute(text(query), {"now": now, "state": "timed_out", "code": "lease_expired"})
    return int(waiting)


def withdraw(session: Session, rollout_id: UUID, *, now: datetime) -> None:
    """Take back what has been offered and not installed; devices learn it at their next poll."""
    query = _CLOSE.format(column="withdrawn", condition="rollout_id = :rollout")
    session.execute(
        text(query), {"now": now, "state": "cancelled", "code": "withdrawn", "rollout": rollout_id}
    )


def wake(session: Session, rollout_id: UUID, *, now: datetime) -> None:
    """Devices that have waited are told to switch at their next poll: from now on silence counts again."""
    session.execute(_WAKE, {"rollout": rollout_id, "until": now + PATIENCE})


def withdraw_stratum(session: Session, rollout_id: UUID, stratum: str, *, now: datetime) -> None:
    """The same for the devices of one stratum."""
    query = _CLOSE.format(column="withdrawn", condition="rollout_id = :rollout and stratum = :stratum")
    values = {"now": now, "state": "cancelled", "code": "stratum_held", "rollout": rollout_id}
    session.execute(text(query), values | {"stratum": stratum})
