"""Who was here and what it runs: gathered in memory, written every few seconds. It may lag; nothing else may."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.observability import log
from service.serving.group_commit import commit, is_away
from service.serving.storable import NUL, storable

FLUSH_EVERY_S = 2.0
MAX_KEPT = 200_000
BATCH = 500
"""Rows of a statement: the event loop writes them down in one go, and polls wait meanwhile, 3 ms for so many."""


@dataclass(frozen=True, slots=True)
class Checkin:
    """A device at one poll."""

    device_id: str
    model: str
    version: str | None
    attributes: dict[str, Any]
    at: datetime


_WRITE = text(
    """
    with news as (
      select device_id, model, version, news.attributes, to_timestamp(news.at) as at
      from jsonb_to_recordset(cast(:news as jsonb))
        as news(device_id text, model text, version text, attributes jsonb, at double precision)
      join devices on devices.id = news.device_id
    ), seen as (
      update devices d set
        seen_at = greatest(d.seen_at, news.at),
        attributes = case when news.attributes = '{}'::jsonb then d.attributes else news.attributes end
      from (select distinct on (device_id) * from news order by device_id, at desc) news where d.id = news.device_id
    )
    insert into installations (device_id, model, version, seen_at)
    select device_id, model, version, at from news order by device_id, model
    on conflict (device_id, model) do update set
      version = coalesce(excluded.version, installations.version), seen_at = excluded.seen_at
    """
)


class Checkins:
    """The newest check-in of each device and model since the last flush."""

    def __init__(self, engine: AsyncEngine, *, max_kept: int = MAX_KEPT) -> None:
        """Start with none; keep at most `max_kept` between two flushes."""
        self._engine = engine
        self._max_kept = max_kept
        self._latest: dict[tuple[str, str], Checkin] = {}

    def note(self, checkin: Checkin) -> None:
        """Remember one; when there are too many, the newcomer is dropped and comes again at its next poll."""
        key = checkin.device_id, checkin.model
        if key in self._latest or len(self._latest) < self._max_kept:
            self._latest[key] = checkin

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all; while the database is away, keep what could not be written for the next time."""
        taken, self._latest = self._latest, {}
        items = list(taken.values())
        for start in range(0, len(items), BATCH):
            # In one order in all processes, or two of them would wait for each other's rows.
            batch = sorted(items[start : start + BATCH], key=lambda item: (item.device_id, item.model))
            await self._flush_batch(batch)

    async def _flush_batch(self, batch: Sequence[Checkin]) -> None:
        try:
            await commit(self._engine, _write, batch)
        except Exception as error:  # noqa: BLE001 - no row whatever may end the loop that serves all others
            if is_away(error):
                log("checkins").warning("checkins.kept", count=len(batch), error=type(error).__name__)
                self._latest = {(item.device_id, item.model): item for item in batch} | self._latest
            elif len(batch) == 1:
                log("checkins").error(
                    "checkin.dropped", device=batch[0].device_id, error=type(error).__name__
                )
            else:
                for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                    await self._flush_batch(half)


async def _write(connection: AsyncConnection, items: Sequence[Checkin]) -> Sequence[None]:
    # One JSON text, which C writes: as five arrays it would cost the event loop five times as much.
    news = json.dumps(
        [
            {
                "device_id": item.device_id,
                "model": item.model,
                "version": item.version,
                "attributes": item.attributes,
                "at": item.at.timestamp(),
            }
            for item in items
        ]
    )
    if NUL in news:
        news = json.dumps([storable(item) for item in json.loads(news)])
    await connection.execute(_WRITE, {"news": news})
    return [None] * len(items)
