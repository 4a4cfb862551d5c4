"""Patches that polls ask for: counted in memory, written every few seconds, never a query per poll.

The plan of patches (`operations.patch_plan`) decides which of them are made. Until it has, devices wait, for as long as
they would wait for a patch in the making.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.domain.catalogue import Line
from service.domain.decisions import Decision, Facts
from service.domain.patch_demand import missing
from service.observability import log
from service.serving.group_commit import commit

FLUSH_EVERY_S = 2.0
MAX_PAIRS = 5_000
FORMAT = "glp1"

_WRITE = text(
    """
    insert into patch_wishes as known (source_sha256, target_sha256, asked, asked_at)
    select source, target, asked, now()
    from jsonb_to_recordset(cast(:wishes as jsonb)) as wish(source text, target text, asked bigint)
    where exists (select 1 from blobs where sha256 = source) and exists (select 1 from blobs where sha256 = target)
    order by source, target
    on conflict (source_sha256, target_sha256) do update
      set asked = known.asked + excluded.asked, asked_at = excluded.asked_at
    """
)


class PatchDemand:
    """What polls have missed since this process began; one per process."""

    def __init__(self, engine: AsyncEngine, *, wait: timedelta, max_pairs: int = MAX_PAIRS) -> None:
        """Start with nothing.

        Args:
            engine: where wishes are written.
            wait: how long devices wait for a patch, from the first poll that missed it; nothing for never asking.
            max_pairs: at most so many pairs are remembered.
        """
        self._engine = engine
        self._wait = wait
        self._max_pairs = max_pairs
        self._first: dict[tuple[str, str], datetime] = {}
        self._news: Counter[tuple[str, str]] = Counter()

    def considered(self, line: Line, facts: Facts, decision: Decision, now: datetime) -> Decision:
        """The decision, or `patch_building` while a patch that it lacks has only just been asked for."""
        if decision.rollout is None or not self._wait:
            return decision
        waits = [self._ask(pair, now) for pair in missing(line, facts, decision, FORMAT)]
        return _after(line, facts, decision, worth=any(waits))

    def foreseen(self, line: Line, facts: Facts, decision: Decision, now: datetime) -> Decision:
        """What `considered` would say to the device's next poll at this process; nothing is asked for."""
        if decision.rollout is None or not self._wait:
            return decision
        pairs = missing(line, facts, decision, FORMAT)
        waits = [self._remembers(pair) and now < self._first.get(pair, now) + self._wait for pair in pairs]
        return _after(line, facts, decision, worth=any(waits))

    def _ask(self, pair: tuple[str, str], now: datetime) -> bool:
        """Count it in; whether it is worth waiting for."""
        if not self._remembers(pair):
            return False
        self._news[pair] += 1
        return now < self._first.setdefault(pair, now) + self._wait

    def _remembers(self, pair: tuple[str, str]) -> bool:
        return pair in self._first or len(self._first) < self._max_pairs

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what is new; while the database is away, keep it for the next time."""
        if not self._news:
            return
        taken, self._news = self._news, Counter()
        try:
            await commit(self._engine, _write, [taken])
        except (SQLAlchemyError, OSError) as error:
            self._news.update(taken)
            log("patches").warning("wishes.kept", pairs=len(taken), error=type(error).__name__)


def _after(line: Line, facts: Facts, decision: Decision, *, worth: bool) -> Decision:
    if not worth or decision.action != "install" or _must_leave(line, facts):
        return decision
    return replace(decision, reason="patch_building", action="none", deliveries=(), held=False)


def _must_leave(line: Line, facts: Facts) -> bool:
    """Whether the device runs a revoked version: it does not wait."""
    current = line.versions.get(facts.current or "")
    return current is not None and current.revoked


async def _write(connection: AsyncConnection, batches: Sequence[Counter[tuple[str, str]]]) -> Sequence[None]:
    wishes = [
        {"source": source, "target": target, "asked": asked}
        for taken in batches
        for (source, target), asked in taken.items()
    ]
    await connection.execute(_WRITE, {"wishes": json.dumps(wishes)})
    return [None] * len(batches)
