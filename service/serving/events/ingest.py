"""Ingests events: store them, update the attempts, count outcomes and metrics, all in one transaction.

Every well-formed event is accepted, also for closed attempts, so that a device can always empty its queue. An event that
arrives twice is recognized by its id and changes nothing.
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
from service.operations.outcomes.attempt_statements import UPDATE_FROM_EVENTS
from service.serving.attempts import bandwidth_budget
from service.serving.events.attempt_ids import parse_attempt_id
from service.serving.events.metric_counts import MetricCounter, MetricsEvent
from service.serving.events.outcome_counts import FAILURES, ROLLUP_COLUMNS, count_outcomes
from service.serving.postgres_text import JSON_NUL, without_nul

MAX_CLOCK_SKEW = timedelta(days=35)
EPOCH, DAY_MS = date(1970, 1, 1), 86_400_000
UNKNOWN_DAY = EPOCH.isoformat()
"""The partition of events whose id contains no plausible day."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one device, sent in one request.

    Attributes:
        now: the time of the request.
        lease_until: when the device's open attempts time out unless it reports again.
    """

    device_id: str
    events: Sequence[Event]
    now: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a batch.

    Attributes:
        accepted: how many events were new.
        duplicates: how many were received before.
        committed: (model, version id) of the attempts that this batch closed as committed.
        affected_rollouts: rollouts whose gates may decide differently now, because of failures or metrics.
    """

    accepted: int
    duplicates: int
    committed: tuple[tuple[str, int], ...] = ()
    affected_rollouts: frozenset[UUID] = frozenset()


# Each statement takes one JSON text, because binding arrays would cost the event loop several times as much.
_INSERT_EVENTS = text(
    """
    with inserted as (
      insert into events (day, event_id, device_id, attempt_id, state, code, body, received_at)
      select day, id, device, body->>'attempt_id', body->>'state', body->>'code', body, received
      from jsonb_to_recordset(cast(:events as jsonb))
        as new_event(day date, id uuid, device text, body jsonb, received timestamptz)
      on conflict do nothing returning event_id
    )
    select string_agg(event_id::text, ',') from inserted
    """
)

ReceivedEvents = dict[str, tuple[EventBatch, Event]]
"""Event id, lower case -> the batch and the event, in the order of arrival."""


@dataclass(frozen=True, slots=True)
class EventIngestor:
    """Ingests batches of events; `metrics` counts the metrics in them."""

    metrics: MetricCounter

    async def ingest(
        self, connection: AsyncConnection, batches: Sequence[EventBatch]
    ) -> Sequence[IngestResult]:
        """Store the events, update attempts, count outcomes and metrics."""
        received = {_key(event): (batch, event) for batch in batches for event in batch.events}
        inserted = await _insert_events(connection, received)
        new_events = {key: item for key, item in received.items() if key in inserted}
        updated = await _update_attempts(connection, new_events)
        closed = [row for row in updated if row.closed_at is not None]
        await count_outcomes(connection, closed, batches[0].now)
        metric_rollouts = await self.metrics.count(connection, _metrics_events(new_events))
        await bandwidth_budget.charge_overruns(connection, _bandwidth_overruns(updated), batches[0].now)
        failed_rollouts = {row.rollout_id for row in closed if ROLLUP_COLUMNS[row.state] in FAILURES}
        affected_rollouts, committed = frozenset(metric_rollouts | failed_rollouts), _committed(closed)
        return [_ingest_result(batch, new_events, committed, affected_rollouts) for batch in batches]


def _key(event: Event) -> str:
    return event.event_id.lower()


def _metrics_events(new_events: ReceivedEvents) -> list[MetricsEvent]:
    return [
        MetricsEvent(batch.device_id, event, batch.now.date())
        for batch, event in new_events.values()
        if event.metrics
    ]


async def _insert_events(connection: AsyncConnection, received: ReceivedEvents) -> set[str]:
    """Store the new events; return their ids."""
    if not received:
        return set()
    # Sorted by id, so that two processes that write the same events cannot deadlock.
    rows = f"[{','.join([_row(key, *received[key]) for key in sorted(received)])}]"
    if JSON_NUL in rows:
        rows = json.dumps([without_nul(row) for row in json.loads(rows)])
    inserted = await connection.scalar(_INSERT_EVENTS, {"events": rows})
    return set(inserted.split(",")) if inserted else set()


def _row(key: str, batch: EventBatch, event: Event) -> str:
    """One event as JSON; ids need no escaping, because validation allows only plain characters."""
    return (
        f'{{"day":"{partition_day(key, batch.now)}","id":"{key}","device":"{batch.device_id}",'
        f'"received":"{batch.now.isoformat()}","body":{event.model_dump_json(exclude_none=True)}}}'
    )


def partition_day(event_id: str, now: datetime) -> str:
    """The day in a version-7 id, ISO 8601: the event's partition, which a retry must hit again."""
    created_ms = int(event_id[:8] + event_id[9:13], 16)
    # Compared as numbers, because 48 bits of milliseconds exceed the range of dates.
    version_7 = event_id[14] == "7" and event_id[19] in "89ab"
    if not version_7 or abs(created_ms / 1000 - now.timestamp()) >= MAX_CLOCK_SKEW.total_seconds():
        return UNKNOWN_DAY
    return _iso_day(created_ms // DAY_MS)


@lru_cache(maxsize=128)
def _iso_day(days: int) -> str:
    return (EPOCH + timedelta(days=days)).isoformat()


async def _update_attempts(connection: AsyncConnection, new_events: ReceivedEvents) -> list[Any]:
    updates = _attempt_updates(new_events)
    if not updates:
        return []
    columns = [
        {
            "id": str(item.attempt_id),
            "device_id": item.device_id,
            "seq": item.last.seq,
            "state": without_nul(item.last.state),
            "code": without_nul(item.last.code),
            "bytes": item.bytes,
            "count": item.count,
            "closes": item.last.state in ROLLUP_COLUMNS,
            "now": item.now.isoformat(),
            "lease_until": item.lease_until.isoformat(),
        }
        for item in updates
    ]
    return list(await connection.execute(UPDATE_FROM_EVENTS, {"updates": json.dumps(columns)}))


def _bandwidth_overruns(updated: Sequence[Any]) -> list[bandwidth_budget.BandwidthOverrun]:
    """Devices that downloaded more than they were offered."""
    return [
        bandwidth_budget.BandwidthOverrun(
            row.rollout_id, row.version_id, row.bytes_offered, row.bytes_before, row.bytes_sent
        )
        for row in updated
        if row.bytes_before is not None
    ]


@dataclass(frozen=True, slots=True)
class _AttemptUpdate:
    """What the new events say about one attempt."""

    attempt_id: UUID
    device_id: str
    last: Event
    bytes: int
    count: int
    now: datetime
    lease_until: datetime


def _attempt_updates(new_events: ReceivedEvents) -> list[_AttemptUpdate]:
    by_attempt: dict[tuple[UUID, str], list[tuple[Event, EventBatch]]] = defaultdict(list)
    for batch, event in new_events.values():
        attempt = parse_attempt_id(event.attempt_id) if event.state != "metrics" else None
        if attempt is not None:
            by_attempt[attempt, batch.device_id].append((event, batch))
    return [_latest_update(key, events) for key, events in sorted(by_attempt.items())]


def _latest_update(key: tuple[UUID, str], events: list[tuple[Event, EventBatch]]) -> _AttemptUpdate:
    """A terminal state wins over other states; otherwise the highest sequence number wins."""
    last, batch = max(events, key=lambda item: (item[0].state in ROLLUP_COLUMNS, item[0].seq))
    most = max(event.bytes or 0 for event, _ in events)
    return _AttemptUpdate(key[0], key[1], last, most, len(events), batch.now, batch.lease_until)


def _committed(closed: list[Any]) -> dict[str, list[tuple[str, int]]]:
    """Device id -> (model, version id) of the attempts that were closed as committed."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in closed:
        if row.state == "committed":
            found[row.device_id].append((row.model, row.version_id))
    return found


def _ingest_result(
    batch: EventBatch,
    new_events: ReceivedEvents,
    committed: dict[str, list[tuple[str, int]]],
    affected_rollouts: frozenset[UUID],
) -> IngestResult:
    accepted = len({_key(event) for event in batch.events} & new_events.keys())
    own = tuple(committed.get(batch.device_id, ()))
    return IngestResult(accepted, len(batch.events) - accepted, own, affected_rollouts)
