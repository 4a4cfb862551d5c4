"""Attempts are granted here: one per device and model at a time, none for a rollout that has stopped.

A few statements per batch, whatever its size: lock the rollouts that still run, see which devices may
have something, close attempts that the new ones replace, insert or renew. The row of a rollout without
pacing is locked for sharing: it only must not stop meanwhile. That of a paced one is locked alone, in every
process, so that what one gives is counted before another looks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Reason
from service.domain.openings import Opening
from service.domain.pacing import Ledger
from service.domain.policy import Pacing
from service.domain.strata import MAX_STRATA, OTHER, held_strata
from service.serving import pace


@dataclass(frozen=True, slots=True)
class Wish:
    """What a decision would like to give a device.

    Attributes:
        bytes_offered: what the preferred way downloads.
        circumstances: see `domain.penalty`.
        strikes: failures of the version under these circumstances after which the device is left alone.
        stratum: the class of device under which the attempt is counted.
        known: the strata that the rollout counts by themselves, as far as the snapshot knows.
    """

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
    circumstances: str
    pacing: Pacing
    strikes: int
    stratum: str = ""
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """The attempt, or why there is none.

    Attributes:
        known: whether the device has enrolled here; a token may outlive its device's row.
        retry: the version failed on the device before, and something has changed since: it may try again.
        opening: for `paced`, when to ask again.
        failures: how often the version failed under these circumstances.
    """

    attempt_id: str | None
    refusal: Reason | None = None
    known: bool = True
    retry: bool = False
    opening: Opening | None = None
    failures: int = 0


_RUNNING = (
    "select id, state, held from rollouts where id = any(:rollouts) and state in ('running', 'completed', 'rolled_back') "
    "order by id"
)
_LOOK = text(_RUNNING)
_SHARE = text(f"{_RUNNING} for share")
# Not `for update`: an attempt that is inserted elsewhere locks the key of the row that it refers to.
_ALONE = text(f"{_RUNNING} for no key update")

# One JSON text for all statements of a batch: as thirteen arrays it would cost the event loop several times as much.
_WISHES = """
  select * from jsonb_to_recordset(cast(:wishes as jsonb)) as wish(
    place int, id uuid, device_id text, model text, rollout_id uuid, version_id bigint, stage int, action text,
    from_version text, bytes_offered bigint, now timestamptz, lease_until timestamptz, circumstances text, stratum text)
"""

_STANDINGS = text(
    f"""
    with wish as ({_WISHES})
    select json_agg(json_build_array(
      device.status, model.killed, past.failures, past.ever,
      (open.rollout_id, open.version_id, open.action)
        is not distinct from (wish.rollout_id, wish.version_id, wish.action)
    ) order by wish.place)
    from wish
    left join devices device on device.id = wish.device_id
    left join models model on model.name = wish.model
    left join forgiven on forgiven.device_id = wish.device_id and forgiven.model = wish.model
    left join attempts open
      on open.device_id = wish.device_id and open.model = wish.model and open.closed_at is null
    left join lateral (
      select count(*) as ever, count(*) filter (
        where attempt.circumstances = wish.circumstances and attempt.closed_at > coalesce(forgiven.at, '-infinity')
      ) as failures
      from attempts attempt
      where attempt.device_id = wish.device_id and attempt.version_id = wish.version_id
        and attempt.action = wish.action and attempt.state in ('failed', 'rolled_back', 'rejected')
    ) past on true
    """  # noqa: S608 - built from constants
)

_HOLD = text(
    f"""
    with wish as ({_WISHES})
    select from wish join attempts a on a.device_id = wish.device_id and a.model = wish.model
    where a.closed_at is null order by a.id for update of a
    """
)
"""What is open stays open until we commit: an attempt that a report ends between our look and our writing would
be renewed uncounted, as a new one."""

_SUPERSEDE = text(
    f"""
    with wish as ({_WISHES}), replaced as (
      select a.id, wish.now from wish join attempts a on a.device_id = wish.device_id and a.model = wish.model
      where a.closed_at is null
        and (a.rollout_id, a.version_id, a.action) is distinct from (wish.rollout_id, wish.version_id, wish.action)
      order by a.id for update of a
    ), closed as (
      update attempts a set state = 'superseded', closed_at = wish.now from replaced wish
      where a.id = wish.id
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
                            bytes_offered, offered_at, lease_until, circumstances, arm, stratum)
      select id, device_id, model, rollout_id, version_id, stage, action, from_version, 'offered',
             bytes_offered, now, lease_until, circumstances,
             case when action = 'rollback' then 'returned' else 'treated' end,
             coalesce((select known.stratum from strata known
                       where known.rollout_id = wish.rollout_id and known.stratum = wish.stratum), '{OTHER}')
      from wish
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
    select json_object_agg(wish.place, granted.id) from granted join wish using (device_id, model)
    """  # noqa: S608 - built from constants
)


_STRATA = text(
    """
    insert into strata (rollout_id, stratum)
    select rollout_id, stratum from (
      select rollout_id, stratum, row_number() over (partition by rollout_id order by stratum)
        + (select count(*) from strata known where known.rollout_id = news.rollout_id) as place
      from (
        select distinct * from unnest(cast(:rollouts as uuid[]), cast(:strata as text[])) as news(rollout_id, stratum)
        except select rollout_id, stratum from strata
      ) news
    ) numbered where place <= :most order by 1, 2
    on conflict do nothing
    """
)
"""First come, first counted by itself; two processes at the same moment may go beyond the bound, by as many again."""


class _Standing(NamedTuple):
    """How a device stands to what it wishes; the status is None where the device is not known here."""

    status: str | None
    killed: bool | None
    failures: int
    ever: int
    renews: bool


Key = tuple[str, str]
"""Device and model: what a device may have one attempt for."""
Open = dict[tuple[UUID, str], frozenset[str]]
"""Rollouts, what they have for devices now (`install`, or `rollback` once rolled back), and the strata they hold back."""


async def grant(connection: AsyncConnection, wishes: Sequence[Wish]) -> Sequence[Grant]:
    """Grant a batch; a device that asks twice in one batch gets the same attempt twice."""
    unique = {_key(wish): wish for wish in wishes}
    paced = [wish for wish in unique.values() if wish.pacing.bounded]
    free = [wish for wish in unique.values() if not wish.pacing.bounded]
    # Always in this order, and each by id: two processes never wait for each other in a circle.
    running = await _running(connection, _SHARE, free) | await _running(connection, _ALONE, paced)
    if paced:
        await connection.execute(_HOLD, {"wishes": _as_json(paced)})
    answers, ledgers = await _judge(connection, unique, running)
    allowed = [unique[key] for key, answer in answers.items() if answer.known and answer.refusal is None]
    attempts: dict[Key, str] = {}
    if allowed:
        wanted = {"wishes": _as_json(allowed)}
        await _name_strata(connection, allowed)
        await connection.execute(_SUPERSEDE, wanted)
        given = await connection.scalar(_INSERT, wanted)
        attempts = {_key(allowed[int(place)]): attempt for place, attempt in (given or {}).items()}
        await pace.write(connection, ledgers)
    return [replace(answers[_key(wish)], attempt_id=attempts.get(_key(wish))) for wish in wishes]


async def consult(connection: AsyncConnection, wish: Wish) -> Grant:
    """What `grant` would say now; nothing is locked, nothing is written."""
    answers, _ = await _judge(connection, {_key(wish): wish}, await _running(connection, _LOOK, [wish]))
    return answers[_key(wish)]


def _key(wish: Wish) -> Key:
    return wish.device_id, wish.model


async def _name_strata(connection: AsyncConnection, wishes: Sequence[Wish]) -> None:
    """Write down classes of device that the snapshot does not know yet."""
    news = [wish for wish in wishes if wish.stratum not in wish.known and wish.stratum != OTHER]
    if news:
        columns = {"rollouts": [w.rollout_id for w in news], "strata": [w.stratum for w in news]}
        await connection.execute(_STRATA, columns | {"most": MAX_STRATA})


async def _running(connection: AsyncConnection, query: TextClause, wishes: Iterable[Wish]) -> Open:
    rollouts = list({wish.rollout_id for wish in wishes})
    if not rollouts:
        return {}
    rows = await connection.execute(query, {"rollouts": rollouts})
    return {
        (row.id, "rollback" if row.state == "rolled_back" else "install"): held_strata(row.held)
        for row in rows
    }


async def _judge(
    connection: AsyncConnection, wishes: Mapping[Key, Wish], running: Open
) -> tuple[dict[Key, Grant], dict[UUID, Ledger]]:
    """An answer to each wish, without its attempt, and the ledgers in which the paced ones are booked."""
    rows = await connection.scalar(_STANDINGS, {"wishes": _as_json(list(wishes.values()))})
    standings = {key: _Standing(*row) for key, row in zip(wishes, rows or (), strict=True)}
    answers = {key: _answer(wish, standings[key], running) for key, wish in wishes.items()}
    # Only who is new has to be counted: an open attempt has had its place and its bytes.
    booking = [
        wish
        for key, wish in wishes.items()
        if wish.pacing.bounded
        and answers[key].known
        and answers[key].refusal is None
        and not standings[key].renews
    ]
    bounds = {wish.rollout_id: wish.pacing for wish in booking}
    earliest = min((wish.now for wish in booking), default=datetime.max.replace(tzinfo=UTC))
    ledgers = await pace.read(connection, bounds, earliest)
    for wish in booking:
        opening = ledgers[wish.rollout_id].book(wish.bytes_offered, wish.now)
        if opening is not None:
            answers[_key(wish)] = replace(answers[_key(wish)], refusal="paced", opening=opening)
    return answers, ledgers


def _answer(wish: Wish, standing: _Standing, running: Open) -> Grant:
    if standing.status is None:
        return Grant(None, known=False)
    retry = standing.ever > 0 and standing.failures == 0
    return Grant(None, _refusal(wish, standing, running), retry=retry, failures=standing.failures)


def _refusal(wish: Wish, standing: _Standing, running: Open) -> Reason | None:
    if standing.status != "accepted":
        return "suspended"
    if standing.killed:
        return "killed"
    if (wish.rollout_id, wish.action) not in running:
        return "paused"
    if wish.action == "install" and wish.stratum in running[wish.rollout_id, wish.action]:
        return "stratum_held"
    return "penalty" if standing.failures >= wish.strikes else None


def _as_json(wishes: Sequence[Wish]) -> str:
    """The wishes as `_WISHES` reads them, each with its place in the batch."""
    return json.dumps(
        [
            {
                "place": place,
                "id": str(uuid4()),
                "device_id": wish.device_id,
                "model": wish.model,
                "rollout_id": str(wish.rollout_id),
                "version_id": wish.version_id,
                "stage": wish.stage,
                "action": wish.action,
                "from_version": wish.from_version,
                "bytes_offered": wish.bytes_offered,
                "now": wish.now.isoformat(),
                "lease_until": wish.lease_until.isoformat(),
                "circumstances": wish.circumstances,
                "stratum": wish.stratum,
            }
            for place, wish in enumerate(wishes)
        ]
    )
