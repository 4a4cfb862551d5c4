"""Reports of devices: kept as they came, merged into attempts, counted in rollups, in one transaction.

Whatever is well-formed is accepted, also for attempts that are over, so that a device can always
empty its queue. A report that comes twice is found by its id and changes nothing.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Event
from service.serving import pace
from service.serving.measurements import Measured, Measurements
from service.serving.storable import storable

OUTCOMES = {
    "committed": "committed",
    "failed": "failed",
    "rejected": "failed",
    "rolled_back": "rolled_back",
    "cancelled": "withdrawn",
    "superseded": "withdrawn",
}
"""Terminal state -> the rollup column that counts it."""
BAD = frozenset({"failed", "rolled_back"})
EARLY = timedelta(hours=1)
"""Who reports within so long of the offer is fast, charged and on Wi-Fi, and may be unlike the others."""
MAX_CLOCK_SKEW = timedelta(days=35)
NO_DAY = date(1970, 1, 1)
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


_KEEP = text(
    """
    insert into events (day, event_id, device_id, attempt_id, state, code, body, received_at)
    select * from unnest(
      cast(:days as date[]), cast(:ids as uuid[]), cast(:devices as text[]), cast(:attempts as text[]),
      cast(:states as text[]), cast(:codes as text[]), cast(:bodies as jsonb[]), cast(:received as timestamptz[])
    )
    on conflict do nothing returning event_id
    """
)

_MERGE = text(
    """
    with news as (
      select * from unnest(
        cast(:ids as uuid[]), cast(:devices as text[]), cast(:seqs as int[]), cast(:states as text[]),
        cast(:codes as text[]), cast(:bytes as bigint[]), cast(:counts as int[]), cast(:over as bool[]),
        cast(:now as timestamptz[]), cast(:leases as timestamptz[])
      ) as news(id, device_id, seq, state, code, bytes, count, over, now, lease_until)
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

_COUNT = text(
    """
    insert into rollups (rollout_id, stage, stratum, arm, minute,
                         committed, failed, rolled_back, withdrawn, early, early_bad, bytes_sent)
    select * from unnest(
      cast(:rollouts as uuid[]), cast(:stages as int[]), cast(:strata as text[]), cast(:arms as text[]),
      cast(:minutes as timestamptz[]), cast(:committed as bigint[]), cast(:failed as bigint[]),
      cast(:rolled_back as bigint[]), cast(:withdrawn as bigint[]), cast(:early as bigint[]),
      cast(:early_bad as bigint[]), cast(:bytes_sent as bigint[])
    )
    on conflict (rollout_id, stage, stratum, arm, minute) do update set
      committed = rollups.committed + excluded.committed,
      failed = rollups.failed + excluded.failed,
      rolled_back = rollups.rolled_back + excluded.rolled_back,
      withdrawn = rollups.withdrawn + excluded.withdrawn,
      early = rollups.early + excluded.early,
      early_bad = rollups.early_bad + excluded.early_bad,
      bytes_sent = rollups.bytes_sent + excluded.bytes_sent
    """
)


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes reports in; `measurements` counts what the running models measured."""

    measurements: Measurements

    async def take_in(self, connection: AsyncConnection, reports: Sequence[Report]) -> Sequence[Receipt]:
        """Keep, merge and count a batch of reports."""
        fresh = await _keep(connection, reports)
        merged = await _merge(connection, reports, fresh)
        closed = [row for row in merged if row.closed_at is not None]
        await _count(connection, closed, reports)
        measured = await self.measurements.count(connection, _measured(reports, fresh))
        await pace.charge(connection, _beyond(merged), reports[0].now)
        bad = {row.rollout_id for row in closed if OUTCOMES[row.state] in BAD}
        return [_receipt(report, fresh, closed, frozenset(measured | bad)) for report in reports]


def _measured(reports: Sequence[Report], fresh: set[UUID]) -> list[Measured]:
    return [
        Measured(report.device_id, event, report.now.date())
        for report in reports
        for event in report.events
        if event.metrics and UUID(event.event_id) in fresh
    ]


async def _keep(connection: AsyncConnection, reports: Sequence[Report]) -> set[UUID]:
    unique = {UUID(event.event_id): (report, event) for report in reports for event in report.events}
    if not unique:
        return set()
    ordered = sorted(unique.items())
    rows = await connection.execute(
        _KEEP,
        {
            "days": [day_of(key, report.now) for key, (report, _) in ordered],
            "ids": [key for key, _ in ordered],
            "devices": [report.device_id for _, (report, _) in ordered],
            "attempts": [storable(event.attempt_id) for _, (_, event) in ordered],
            "states": [storable(event.state) for _, (_, event) in ordered],
            "codes": [storable(event.code) for _, (_, event) in ordered],
            "bodies": [_body(event) for _, (_, event) in ordered],
            "received": [report.now for _, (report, _) in ordered],
        },
    )
    return set(rows.scalars())


def day_of(event_id: UUID, now: datetime) -> date:
    """The day that a version-7 id was made on, so that a retry goes to the same partition."""
    made_s = (event_id.int >> 80) / 1000
    # Compared as numbers: 48 bits of milliseconds reach far beyond the last year that a date has.
    if event_id.version != 7 or abs(made_s - now.timestamp()) >= MAX_CLOCK_SKEW.total_seconds():
        return NO_DAY
    return datetime.fromtimestamp(made_s, UTC).date()


def _body(event: Event) -> str:
    """The event as JSON text. PostgreSQL has no NUL; a device that sends one loses that character."""
    return json.dumps(storable(event.model_dump(mode="json", exclude_none=True)))


async def _merge(connection: AsyncConnection, reports: Sequence[Report], fresh: set[UUID]) -> list[Any]:
    news = _news(reports, fresh)
    if not news:
        return []
    columns = {
        "ids": [item.attempt_id for item in news],
        "devices": [item.device_id for item in news],
        "seqs": [item.last.seq for item in news],
        "states": [storable(item.last.state) for item in news],
        "codes": [storable(item.last.code) for item in news],
        "bytes": [item.bytes for item in news],
        "counts": [item.count for item in news],
        "over": [item.last.state in OUTCOMES for item in news],
        "now": [item.now for item in news],
        "leases": [item.lease_until for item in news],
    }
    return list(await connection.execute(_MERGE, columns))


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


def _news(reports: Sequence[Report], fresh: set[UUID]) -> list[_News]:
    by_attempt: dict[tuple[UUID, str], list[tuple[Event, Report]]] = defaultdict(list)
    for report in reports:
        for event in report.events:
            attempt = _uuid(event.attempt_id)
            if attempt is not None and event.state != "metrics" and UUID(event.event_id) in fresh:
                by_attempt[attempt, report.device_id].append((event, report))
    return [_put_in_order(key, events) for key, events in sorted(by_attempt.items())]


def _put_in_order(key: tuple[UUID, str], events: list[tuple[Event, Report]]) -> _News:
    """A terminal state wins over all others, then the highest sequence number."""
    last, report = max(events, key=lambda item: (item[0].state in OUTCOMES, item[0].seq))
    most = max(event.bytes or 0 for event, _ in events)
    return _News(key[0], key[1], last, most, len(events), report.now, report.lease_until)


async def _count(connection: AsyncConnection, closed: list[Any], reports: Sequence[Report]) -> None:
    if not closed:
        return
    minute = reports[0].now.replace(second=0, microsecond=0)
    cells: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for row in closed:
        cell = cells[row.rollout_id, row.stage, row.stratum, row.arm]
        outcome = OUTCOMES[row.state]
        cell[outcome] += 1
        if outcome != "withdrawn" and row.closed_at - row.offered_at <= EARLY:
            cell["early"] += 1
            cell["early_bad"] += outcome in BAD
        cell["bytes_sent"] += row.bytes_sent
    ordered = sorted(cells.items(), key=lambda item: (str(item[0][0]), *item[0][1:]))
    columns: dict[str, list[Any]] = {
        "rollouts": [key[0] for key, _ in ordered],
        "stages": [key[1] for key, _ in ordered],
        "strata": [key[2] for key, _ in ordered],
        "arms": [key[3] for key, _ in ordered],
        "minutes": [minute for _ in ordered],
    }
    for name in ("committed", "failed", "rolled_back", "withdrawn", "early", "early_bad", "bytes_sent"):
        columns[name] = [cell[name] for _, cell in ordered]
    await connection.execute(_COUNT, columns)


def _receipt(report: Report, fresh: set[UUID], closed: list[Any], touched: frozenset[UUID]) -> Receipt:
    accepted = len({UUID(event.event_id) for event in report.events} & fresh)
    committed = tuple(
        (row.model, row.version_id)
        for row in closed
        if row.device_id == report.device_id and row.state == "committed"
    )
    return Receipt(accepted, len(report.events) - accepted, committed, touched)


def _uuid(text_: str | None) -> UUID | None:
    try:
        return UUID(text_) if text_ else None
    except ValueError:
        return None
