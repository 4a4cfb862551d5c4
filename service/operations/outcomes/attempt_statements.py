"""Every SQL statement that writes `attempts`, for the hot path (`serving`) and for `attempts` here.

A statement that opens or closes attempts also counts them in `outcome_rollups`, so that gates never scan events.
"""

from sqlalchemy import TextClause, text

from service.domain.targeting.device_classes import OTHER
from service.operations.outcomes.outcome_rollups import add_counts

# One JSON text for all statements of a batch: thirteen arrays would cost the event loop several times as much.
OFFER_REQUESTS = """
  select * from jsonb_to_recordset(cast(:requests as jsonb)) as request(
    place int, id uuid, device_id text, model text, rollout_id uuid, version_id bigint, stage int, action text,
    from_version text, bytes_offered bigint, now timestamptz, lease_until timestamptz, failure_fingerprint text,
    device_class text)
"""
"""Source of the parameter `requests`, a JSON array; `place` is the position in the batch."""

_CLOSED_PER_MINUTE = """
  select rollout_id, stage, device_class, arm, date_trunc('minute', closed_at), count(*) from closed
  group by 1, 2, 3, 4, 5
"""

SUPERSEDE = text(
    f"""
    with request as ({OFFER_REQUESTS}), replaced as (
      select a.id, request.now from request
      join attempts a on a.device_id = request.device_id and a.model = request.model
      where a.closed_at is null and (a.rollout_id, a.version_id, a.action)
        is distinct from (request.rollout_id, request.version_id, request.action)
      order by a.id for update of a
    ), closed as (
      update attempts a set state = 'superseded', closed_at = replaced.now from replaced where a.id = replaced.id
      returning a.rollout_id, a.stage, a.device_class, a.arm, a.closed_at
    )
    {add_counts(["withdrawn"], _CLOSED_PER_MINUTE)}
    """  # noqa: S608 - built from constants
)
"""Close the open attempts that `requests` replace with an attempt for another version, rollout or action."""

_OFFERED_PER_MINUTE = """
  select rollout_id, stage, device_class, arm, date_trunc('minute', offered_at), count(*) from granted where is_new
  group by 1, 2, 3, 4, 5
"""

INSERT_OR_RENEW = text(
    f"""
    with request as ({OFFER_REQUESTS}), granted as (
      insert into attempts (id, device_id, model, rollout_id, version_id, stage, action, from_version, state,
                            bytes_offered, offered_at, lease_until, failure_fingerprint, arm, device_class)
      select id, device_id, model, rollout_id, version_id, stage, action, from_version, 'offered',
             bytes_offered, now, lease_until, failure_fingerprint,
             case when action = 'rollback' then 'returned' else 'treatment' end,
             coalesce((select known.device_class from device_classes known
                       where known.rollout_id = request.rollout_id
                         and known.device_class = request.device_class), '{OTHER}')
      from request
      order by device_id, model
      on conflict (device_id, model) where closed_at is null do update set lease_until = excluded.lease_until
      returning id, device_id, model, rollout_id, stage, device_class, arm, offered_at, (xmax = 0) as is_new
    ), counted as ({add_counts(["offered"], _OFFERED_PER_MINUTE)})
    select json_object_agg(request.place, granted.id) from granted join request using (device_id, model)
    """  # noqa: S608 - built from constants
)
"""Insert an attempt for each of `requests`, or renew the lease of the open one; returns place -> attempt id."""

UPDATE_FROM_EVENTS = text(
    """
    with updates as (
      select * from jsonb_to_recordset(cast(:updates as jsonb))
        as change(id uuid, device_id text, seq int, state text, code text, bytes bigint, count int, closes bool,
                now timestamptz, lease_until timestamptz)
    )
    update attempts a set
      state = case when change.seq >= a.seq or change.closes then change.state else a.state end,
      downloaded = a.downloaded or change.state in ('downloaded', 'staged', 'activating'),
      code = coalesce(change.code, a.code),
      seq = greatest(a.seq, change.seq),
      bytes_sent = greatest(a.bytes_sent, change.bytes),
      events = a.events + change.count,
      lease_until = greatest(a.lease_until, change.lease_until),
      closed_at = case when change.closes then change.now end
    from updates change
    where a.id = change.id and a.device_id = change.device_id and a.closed_at is null
    returning a.device_id, a.rollout_id, a.stage, a.device_class, a.arm, a.state, a.bytes_sent, a.model, a.version_id,
              a.closed_at, a.offered_at, a.bytes_offered,
              -- The value before this statement; read only for devices that downloaded more than they were offered.
              case when change.bytes > a.bytes_offered and a.arm = 'treatment'
                then (select past.bytes_sent from attempts past where past.id = a.id) end as bytes_before
    """
)
"""Apply what the events of each attempt say (`updates`, a JSON array) to the open attempts; returns the changed rows.

The caller counts the closed attempts (`serving.events.outcome_counts`).
"""

EXTEND_DEFERRED = text(
    """
    update attempts a set lease_until = :until
    from rollouts r
    where a.closed_at is null and a.lease_until < :now and a.state = 'staged' and r.id = a.rollout_id
      and r.policy ->> 'activation' = 'deferred' and r.activated_at is null
    """
)
"""Extend the leases of staged attempts that still wait for the activation of their rollout."""

EXTEND_STAGED = text(
    """
    update attempts set lease_until = greatest(lease_until, :until)
    where rollout_id = :rollout and closed_at is null and state = 'staged'
    """
)
"""Extend the leases of all staged attempts of a rollout."""


def _close(column: str, condition: str) -> TextClause:
    """Close the open attempts that meet a condition, and count them in a column of `outcome_rollups`."""
    return text(
        f"""
        with closed as (
          update attempts set state = :state, closed_at = :now, code = :code
          where closed_at is null and {condition}
          returning rollout_id, stage, device_class, arm, closed_at
        )
        {add_counts([column], _CLOSED_PER_MINUTE)}
        """  # noqa: S608 - built from constants
    )


TIME_OUT = _close(
    "timed_out",
    "id in (select id from attempts where closed_at is null and lease_until < :now "
    "order by lease_until limit 5000 for update skip locked)",
)
CANCEL_ROLLOUT = _close("withdrawn", "rollout_id = :rollout")
CANCEL_DEVICE_CLASS = _close("withdrawn", "rollout_id = :rollout and device_class = :device_class")
