"""Reports of devices: kept as they came, merged into attempts, counted in rollups, in one transaction.

Whatever is well-formed is accepted, also for attempts that are over, so that a device can always
empty its queue. A report that comes twice is found by its id and changes nothing.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Event
from service.serving import pace
from service.serving.measurements import Measured, Measurements
from service.serving.outcomes import BAD, OUTCOMES, count
from service.serving.storable import NUL, storable

MAX_CLOCK_SKEW = timedelta(days=35)
EPOCH, DAY_MS = date(1970, 1, 1), 86_400_000
NO_DAY = EPOCH.isoformat()
"""Where reports go whose id does not tell a believable day."""


@dataclass(frozen=True, slots=True)
class Report:
    """One device's batch of events.

    Attributes:
        lease_until: how long its open attempts may be silent from now on.
    """

    device_id: str
    events: Sequence[Event]
    now: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch.

    Attributes:
        committed: (model, version id) of the attempts that this batch closed as committed.
        touched: rollouts whose gates may now say something else than before: bad outcomes, measurements.
    """

    accepted: int
    duplicates: int
    committed: tuple[tuple[str, int], ...] = ()
    touched: frozenset[UUID] = frozenset()


# Each statement takes one JSON text: as many arrays would cost the event loop several times as much.
_KEEP = text(
    """
    with kept as (
      insert into events (day, event_id, device_id, attempt_id, state, code, body, received_at)
      select day, id, device, body->>'attempt_id', body->>'state', body->>'code', body, received
      from jsonb_to_recordset(cast(:news as jsonb))
        as news(day date, id uuid, device text, body jsonb, received timestamptz)
      on conflict do nothing returning event_id
    )
    select string_agg(event_id::text, ',') from kept
    """
)

_MERGE = text(
    """
    with news as (
      select * from jsonb_to_recordset(cast(:news as jsonb))
        as news(id uuid, device_id text, seq int, state text, code text, bytes bigint, count int, over bool,
                now timestamptz, lease_until timestamptz)
    )
    update attempts a set
      state = case when news.seq >= a.seq or news.over then news.state else a.state end,
      downloaded = a.downloaded or news.state in ('downloaded', 'staged', 'activating'),
      code = coalesce(news.code, a.code),
      seq = greatest(a.seq, news.seq),
      bytes_sent = greatest(a.bytes_sent, news.bytes),
      events = a.events + news.count,
      lease_until = greatest(a.lease_until, news.lease_until),
      closed_at = case when news.over then news.now end
    from news
    where a.id = news.id and a.device_id = news.device_id and a.closed_at is null
    returning a.device_id, a.rollout_id, a.stage, a.stratum, a.arm, a.state, a.bytes_sent, a.model, a.version_id,
              a.closed_at, a.offered_at, a.bytes_offered,
              -- As it was before this statement; looked up only for who fetched more than it was offered.
              case when news.bytes > a.bytes_offered and a.arm = 'treated'
                then (select past.bytes_sent from attempts past where past.id = a.id) end as bytes_before
    """
)

Arrived = dict[str, tuple[Report, Event]]
"""Event id as the database spells it -> the event and who sent it, in the order of arrival."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes reports in; `measurements` counts what the running models measured."""

    measurements: Measurements

    async def take_in(self, connection: AsyncConnection, reports: Sequence[Report]) -> Sequence[Receipt]:
        """Keep, merge and count a batch of reports."""
        arrived = {_key(event): (report, event) for report in reports for event in report.events}
        kept = await _keep(connection, arrived)
        fresh = {key: item for key, item in arrived.items() if key in kept}
        merged = await _merge(connection, fresh)
        closed = [row for row in merged if row.closed_at is not None]
        await count(connection, closed, reports[0].now)
        measured = await self.measurements.count(connection, _measured(fresh))
        await pace.charge(connection, _beyond(merged), reports[0].now)
        bad = {row.rollout_id for row in closed if OUTCOMES[row.state] in BAD}
        touched, committed = frozenset(measured | bad), _committed(closed)
        return [_receipt(report, fresh, committed, touched) for report in reports]


def _key(event: Event) -> str:
    return event.event_id.lower()


def _measured(fresh: Arrived) -> list[Measured]:
    return [
        Measured(report.device_id, event, report.now.date())
        for report, event in fresh.values()
        if event.metrics
    ]


async def _keep(connection: AsyncConnection, arrived: Arrived) -> set[str]:
    """Write down what is new; its ids."""
    if not arrived:
        return set()
    # By id: two processes that write the same ones never wait for each other in a circle.
    news = f"[{','.join([_row(key, *arrived[key]) for key in sorted(arrived)])}]"
    if NUL in news:
        news = json.dumps([storable(item) for item in json.loads(news)])
    kept = await connection.scalar(_KEEP, {"news": news})
    return set(kept.split(",")) if kept else set()


def _row(key: str, report: Report, event: Event) -> str:
    """One event for `_KEEP`; `key` and the device's id are of letters that JSON does not escape."""
    return (
        f'{{"day":"{day_of(key, report.now)}","id":"{key}","device":"{report.device_id}",'
        f'"received":"{report.now.isoformat()}","body":{event.model_dump_json(exclude_none=True)}}}'
    )


def day_of(event_id: str, now: datetime) -> str:
    """The day that a version-7 id was made on, ISO 8601, so that a retry goes to the same partition."""
    made_ms = int(event_id[:8] + event_id[9:13], 16)
    # Compared as numbers: 48 bits of milliseconds reach far beyond the last year that a date has.
    version_7 = event_id[14] == "7" and event_id[19] in "89ab"
    if not version_7 or abs(made_ms / 1000 - now.timestamp()) >= MAX_CLOCK_SKEW.total_seconds():
        return NO_DAY
    return _iso_day(made_ms // DAY_MS)


@lru_cache(maxsize=128)
def _iso_day(days: int) -> str:
    return (EPOCH + timedelta(days=days)).isoformat()


async def _merge(connection: AsyncConnection, fresh: Arrived) -> list[Any]:
    news = _news(fresh)
    if not news:
        return []
    columns = [
        {
            "id": str(item.attempt_id),
            "device_id": item.device_id,
            "seq": item.last.seq,
            "state": storable(item.last.state),
            "code": storable(item.last.code),
            "bytes": item.bytes,
            "count": item.count,
            "over": item.last.state in OUTCOMES,
            "now": item.now.isoformat(),
            "lease_until": item.lease_until.isoformat(),
        }
        for item in news
    ]
    return list(await connection.execute(_MERGE, {"news": json.dumps(columns)}))


def _beyond(merged: Sequence[Any]) -> list[pace.Excess]:
    """Who fetched more than it was offered: a patch failed, and the whole file came."""
    return [
        pace.Excess(row.rollout_id, row.version_id, row.bytes_offered, row.bytes_before, row.bytes_sent)
        for row in merged
        if row.bytes_before is not None
    ]


@dataclass(frozen=True, slots=True)
class _News:
    """What a batch says of one attempt, late and early reports put in order."""

    attempt_id: UUID
    device_id: str
    last: Event
    bytes: int
    count: int
    now: datetime
    lease_until: datetime


def _news(fresh: Arrived) -> list[_News]:
    by_attempt: dict[tuple[UUID, str], list[tuple[Event, Report]]] = defaultdict(list)
    for report, event in fresh.values():
        attempt = _uuid(event.attempt_id) if event.state != "metrics" else None
        if attempt is not None:
            by_attempt[attempt, report.device_id].append((event, report))
    return [_put_in_order(key, events) for key, events in sorted(by_attempt.items())]


def _put_in_order(key: tuple[UUID, str], events: list[tuple[Event, Report]]) -> _News:
    """A terminal state wins over all others, then the highest sequence number."""
    last, report = max(events, key=lambda item: (item[0].state in OUTCOMES, item[0].seq))
    most = max(event.bytes or 0 for event, _ in events)
    return _News(key[0], key[1], last, most, len(events), report.now, report.lease_until)


def _committed(closed: list[Any]) -> dict[str, list[tuple[str, int]]]:
    """Device -> (model, version id) of its attempts that were closed as committed."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in closed:
        if row.state == "committed":
            found[row.device_id].append((row.model, row.version_id))
    return found


def _receipt(
    report: Report, fresh: Arrived, committed: dict[str, list[tuple[str, int]]], touched: frozenset[UUID]
) -> Receipt:
    accepted = len({_key(event) for event in report.events} & fresh.keys())
    own = tuple(committed.get(report.device_id, ()))
    return Receipt(accepted, len(report.events) - accepted, own, touched)


def _uuid(text_: str | None) -> UUID | None:
    try:
        return UUID(text_) if text_ else None
    except ValueError:
        return None
