"""Check-ins: when each device polled last and what it runs; buffered in memory, written every few seconds.

This is the only state that may lag.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.infrastructure.observability import log
from service.operations.fleet.devices import RECORD_CHECKINS
from service.serving.batching.write_batcher import commit_batch, is_unavailable
from service.serving.postgres_text import JSON_NUL, without_nul

FLUSH_INTERVAL_S = 2.0
MAX_DEVICES = 200_000
BATCH_SIZE = 500
"""Rows per statement: polls wait while the event loop encodes them, about 3 ms for this many."""


@dataclass(frozen=True, slots=True)
class Checkin:
    """What one poll says about a device."""

    device_id: str
    model: str
    version: str | None
    attributes: dict[str, Any]
    at: datetime


class CheckinBuffer:
    """The newest check-in of each device and model since the last flush."""

    def __init__(self, engine: AsyncEngine, *, max_devices: int = MAX_DEVICES) -> None:
        """Start empty; keep at most `max_devices` check-ins between two flushes."""
        self._engine = engine
        self._max_devices = max_devices
        self._latest: dict[tuple[str, str], Checkin] = {}

    def record(self, checkin: Checkin) -> None:
        """Keep a check-in; if the buffer is full, drop that of a device that is not in it."""
        key = checkin.device_id, checkin.model
        if key in self._latest or len(self._latest) < self._max_devices:
            self._latest[key] = checkin

    async def run(self) -> None:
        """Flush every few seconds until canceled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all check-ins; while the database is down, keep them for the next flush."""
        buffered, self._latest = self._latest, {}
        items = list(buffered.values())
        for start in range(0, len(items), BATCH_SIZE):
            # In the same order in all processes, so that two of them cannot deadlock.
            batch = sorted(items[start : start + BATCH_SIZE], key=lambda item: (item.device_id, item.model))
            await self._flush_batch(batch)

    async def _flush_batch(self, batch: Sequence[Checkin]) -> None:
        try:
            await commit_batch(self._engine, _write, batch)
        except Exception as error:  # noqa: BLE001 - one bad row must not stop the loop
            if is_unavailable(error):
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
    # One JSON text, because binding five arrays would cost the event loop five times as much.
    rows = json.dumps(
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
    if JSON_NUL in rows:
        rows = json.dumps([without_nul(item) for item in json.loads(rows)])
    await connection.execute(RECORD_CHECKINS, {"checkins": rows})
    return [None] * len(items)
