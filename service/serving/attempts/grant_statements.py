"""The SQL that decides on offers; every statement takes a whole batch of requests.

The statements that write attempts are in `operations.outcomes.attempt_statements`.
"""

from sqlalchemy import text

from service.operations.outcomes.attempt_statements import OFFER_REQUESTS

_OFFERING_ROLLOUTS = (
    "select id, state, paused_classes from rollouts where id = any(:rollouts) and state in ('running', 'completed', 'rolled_back') "
    "order by id"
)

SELECT_ROLLOUTS = text(_OFFERING_ROLLOUTS)

LOCK_ROLLOUTS_SHARED = text(f"{_OFFERING_ROLLOUTS} for share")

# Not `for update`, because inserting an attempt elsewhere locks the key of the row that it references.
LOCK_ROLLOUTS_EXCLUSIVE = text(f"{_OFFERING_ROLLOUTS} for no key update")

SELECT_DEVICE_HISTORY = text(
    f"""
    with request as ({OFFER_REQUESTS})
    select json_agg(json_build_array(
      device.status, model.disabled, past.failures, past.ever,
      (open.rollout_id, open.version_id, open.action)
        is not distinct from (request.rollout_id, request.version_id, request.action)
    ) order by request.place)
    from request
    left join devices device on device.id = request.device_id
    left join models model on model.name = request.model
    left join failure_resets on failure_resets.device_id = request.device_id and failure_resets.model = request.model
    left join attempts open
      on open.device_id = request.device_id and open.model = request.model and open.closed_at is null
    left join lateral (
      select count(*) as ever, count(*) filter (
        where attempt.failure_fingerprint = request.failure_fingerprint and attempt.closed_at > coalesce(failure_resets.at, '-infinity')
      ) as failures
      from attempts attempt
      where attempt.device_id = request.device_id and attempt.version_id = request.version_id
        and attempt.action = request.action and attempt.state in ('failed', 'rolled_back', 'rejected')
    ) past on true
    """  # noqa: S608 - built from constants
)

LOCK_OPEN_ATTEMPTS = text(
    f"""
    with request as ({OFFER_REQUESTS})
    select from request join attempts a on a.device_id = request.device_id and a.model = request.model
    where a.closed_at is null order by a.id for update of a
    """
)
"""Keeps open attempts open until the commit: if a report closed one in between, the insert would create a new attempt
that the budget does not count."""

REGISTER_DEVICE_CLASSES = text(
    """
    insert into device_classes (rollout_id, device_class)
    select rollout_id, device_class from (
      select rollout_id, device_class, row_number() over (partition by rollout_id order by device_class)
        + (select count(*) from device_classes known where known.rollout_id = new_classes.rollout_id) as place
      from (
        select distinct * from unnest(cast(:rollouts as uuid[]), cast(:device_classes as text[])) as new_classes(rollout_id, device_class)
        except select rollout_id, device_class from device_classes
      ) new_classes
    ) numbered where place <= :max_classes order by 1, 2
    on conflict do nothing
    """
)
"""Registers classes up to the limit, first come first served; two processes at once may exceed the limit."""
