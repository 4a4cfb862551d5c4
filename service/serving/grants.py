"""Attempts are granted here: one per device and model at a time, none for a rollout that has stopped.

A few statements per batch, whatever its size: lock the rollouts that still run, see which devices may
have something, close attempts that the new ones replace, insert or renew. The row of a rollout without
pacing is locked for sharing: it only must not stop meanwhile. That of a paced one is locked alone, in every
process, so that what one gives is counted before another looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, TextClause, text
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

_WISHES = """
  select * from unnest(
    cast(:ids as uuid[]), cast(:devices as text[]), cast(:models as text[]), cast(:rollouts as uuid[]),
    cast(:versions as bigint[]), cast(:stages as int[]), cast(:actions as text[]), cast(:froms as text[]),
    cast(:bytes as bigint[]), cast(:now as timestamptz[]), cast(:leases as timestamptz[]),
    cast(:circumstances as text[]), cast(:strata as text[])
  ) as wish(id, device_id, model, rollout_id, version_id, stage, action, from_version, bytes_offered, now, lease_until,
            circumstances, stratum)
"""

_STANDINGS = text(
    f"""
    with wish as ({_WISHES})
    select wish.device_id, wish.model, device.status, model.killed, past.failures, past.ever,
           (open.rollout_id, open.version_id, open.action)
             is not distinct from (wish.rollout_id, wish.version_id, wish.action) as renews
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
    select device_id, model, id from granted
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
    answers, ledgers = await _judge(connection, unique, running)
    allowed = [unique[key] for key, answer in answers.items() if answer.known and answer.refusal is None]
    attempts: dict[Key, str] = {}
    if allowed:
        columns = _columns(allowed)
        await _name_strata(connection, allowed)
        await connection.execute(_SUPERSEDE, columns)
        rows = await connection.execute(_INSERT, columns)
        attempts = {(row.device_id, row.model): str(row.id) for row in rows}
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
    rows = await connection.execute(_STANDINGS, _columns(list(wishes.values())))
    standings = {(row.device_id, row.model): row for row in rows}
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


def _answer(wish: Wish, standing: Row[Any], running: Open) -> Grant:
    if standing.status is None:
        return Grant(None, known=False)
    retry = standing.ever > 0 and standing.failures == 0
    return Grant(None, _refusal(wish, standing, running), retry=retry, failures=standing.failures)


def _refusal(wish: Wish, standing: Row[Any], running: Open) -> Reason | None:
    if standing.status != "accepted":
        return "suspended"
    if standing.killed:
        return "killed"
    if (wish.rollout_id, wish.action) not in running:
        return "paused"
    if wish.action == "install" and wish.stratum in running[wish.rollout_id, wish.action]:
        return "stratum_held"
    return "penalty" if standing.failures >= wish.strikes else None


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
        "circumstances": [wish.circumstances for wish in wishes],
        "strata": [wish.stratum for wish in wishes],
    }
