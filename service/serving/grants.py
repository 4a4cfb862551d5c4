"""Attempts are granted here: one per device and model at a time, none for a rollout that has stopped.

Four statements per batch, whatever its size: lock the rollouts that still run, see which devices may
have something, close attempts that the new ones replace, insert or renew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Reason

MAX_FAILURES = 3
"""A device that failed a version so often is left alone until something changes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a decision would like to give a device."""

    device_id: str
    model: str
    rollout_id: UUID
    version_id: int
    stage: int
    action: str
    from_version: str | None
    bytes_offered: int
    now: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """The attempt, or why there is none.

    Attributes:
        known: whether the device has enrolled here; a token may outlive its device's row.
    """

    attempt_id: str | None
    refusal: Reason | None = None
    known: bool = True


_OPEN_ROLLOUTS = text(
    "select id from rollouts where id = any(:rollouts) and state in ('running', 'completed') order by id for share"
)

_STATUSES = text("select id, status from devices where id = any(:devices)")

_WISHES = """
  select * from unnest(
    cast(:ids as uuid[]), cast(:devices as text[]), cast(:models as text[]), cast(:rollouts as uuid[]),
    cast(:versions as bigint[]), cast(:stages as int[]), cast(:actions as text[]), cast(:froms as text[]),
    cast(:bytes as bigint[]), cast(:now as timestamptz[]), cast(:leases as timestamptz[])
  ) as wish(id, device_id, model, rollout_id, version_id, stage, action, from_version, bytes_offered, now, lease_until)
"""

_SUPERSEDE = text(
    f"""
    with wish as ({_WISHES}), closed as (
      update attempts a set state = 'superseded', closed_at = wish.now from wish
      where a.device_id = wish.device_id and a.model = wish.model and a.closed_at is null
        and (a.rollout_id, a.version_id, a.action) is distinct from (wish.rollout_id, wish.version_id, wish.action)
      returning a.rollout_id, a.stage, a.stratum, a.arm, wish.now
    )
    insert into rollups (rollout_id, stage, stratum, arm, minute, withdrawn)
    select rollout_id, stage, stratum, arm, date_trunc('minute', now), count(*) from closed group by 1, 2, 3, 4, 5
    on conflict (rollout_id, stage, stratum, arm, minute)
    do update set withdrawn = rollups.withdrawn + excluded.withdrawn
    """  # noqa: S608 - built from constants
)

_INSERT = text(
    f"""
    with wish as ({_WISHES}), granted as (
      insert into attempts (id, device_id, model, rollout_id, version_id, stage, action, from_version, state,
                            bytes_offered, offered_at, lease_until)
      select id, device_id, model, rollout_id, version_id, stage, action, from_version, 'offered',
             bytes_offered, now, lease_until
      from wish
      where {MAX_FAILURES} > (
        select count(*) from attempts past
        where past.device_id = wish.device_id and past.version_id = wish.version_id
          and past.state in ('failed', 'rolled_back', 'rejected')
      )
      order by device_id, model
      on conflict (device_id, model) where closed_at is null do update set lease_until = excluded.lease_until
      returning id, device_id, model, rollout_id, stage, stratum, arm, offered_at, (xmax = 0) as fresh
    ), counted as (
      insert into rollups (rollout_id, stage, stratum, arm, minute, offered)
      select rollout_id, stage, stratum, arm, date_trunc('minute', offered_at), count(*)
      from granted where fresh group by 1, 2, 3, 4, 5
      on conflict (rollout_id, stage, stratum, arm, minute)
      do update set offered = rollups.offered + excluded.offered
    )
    select device_id, model, id from granted
    """  # noqa: S608 - built from constants
)


async def grant(connection: AsyncConnection, wishes: Sequence[Wish]) -> Sequence[Grant]:
    """Grant a batch; a device that asks twice in one batch gets the same attempt twice."""
    unique = {(wish.device_id, wish.model): wish for wish in wishes}
    running = set(
        (
            await connection.execute(
                _OPEN_ROLLOUTS, {"rollouts": list({w.rollout_id for w in unique.values()})}
            )
        ).scalars()
    )
    found = await connection.execute(_STATUSES, {"devices": list({wish.device_id for wish in wishes})})
    statuses = {row.id: row.status for row in found}
    allowed = [
        wish
        for wish in unique.values()
        if wish.rollout_id in running and statuses.get(wish.device_id) == "accepted"
    ]
    attempts: dict[tuple[str, str], str] = {}
    if allowed:
        columns = _columns(allowed)
        await connection.execute(_SUPERSEDE, columns)
        rows = await connection.execute(_INSERT, columns)
        attempts = {(row.device_id, row.model): str(row.id) for row in rows}
    return [
        _answer(wish, attempts.get((wish.device_id, wish.model)), statuses.get(wish.device_id), running)
        for wish in wishes
    ]


def _answer(wish: Wish, attempt: str | None, status: str | None, running: set[UUID]) -> Grant:
    if attempt is not None:
        return Grant(attempt)
    if status is None:
        return Grant(None, known=False)
    if status != "accepted":
        return Grant(None, "suspended")
    return Grant(None, "penalty" if wish.rollout_id in running else "paused")


def _columns(wishes: Sequence[Wish]) -> dict[str, list[Any]]:
    return {
        "ids": [uuid4() for _ in wishes],
        "devices": [wish.device_id for wish in wishes],
        "models": [wish.model for wish in wishes],
        "rollouts": [wish.rollout_id for wish in wishes],
        "versions": [wish.version_id for wish in wishes],
        "stages": [wish.stage for wish in wishes],
        "actions": [wish.action for wish in wishes],
        "froms": [wish.from_version for wish in wishes],
        "bytes": [wish.bytes_offered for wish in wishes],
        "now": [wish.now for wish in wishes],
        "leases": [wish.lease_until for wish in wishes],
    }
