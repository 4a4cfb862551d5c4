"""Patches that polls lack: counted in memory, written every few seconds, never a query per poll.

The patch planner (`operations.patching.planning`) decides which of them are built. Until it has decided, devices wait as
long as they wait for a patch that is being built.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sdk_contract.formats import GLP1
from service.domain.catalog import ModelView
from service.domain.patching.missing_patches import missing_patches
from service.domain.polling.decisions import Decision, DeviceContext
from service.infrastructure.observability import log
from service.operations.patching.requests import ADD_REQUESTS
from service.serving.batching.write_batcher import commit_batch

FLUSH_INTERVAL_S = 2.0
MAX_PAIRS = 5_000


class PatchDemand:
    """Missing patches since the process started; one instance per process."""

    def __init__(self, engine: AsyncEngine, *, wait: timedelta, max_pairs: int = MAX_PAIRS) -> None:
        """Start empty.

        Args:
            engine: the database that requests are written to.
            wait: how long devices wait for a patch after the first poll that lacked it; zero turns demand off.
            max_pairs: how many pairs of source and target to keep at most.
        """
        self._engine = engine
        self._wait = wait
        self._max_pairs = max_pairs
        self._first_requested: dict[tuple[str, str], datetime] = {}
        self._unwritten: Counter[tuple[str, str]] = Counter()

    def apply(self, model: ModelView, device: DeviceContext, decision: Decision, now: datetime) -> Decision:
        """Request the missing patches; return `patch_building` while one of them is worth waiting for."""
        if decision.rollout is None or not self._wait:
            return decision
        waits = [self._request(pair, now) for pair in missing_patches(model, device, decision, GLP1)]
        return _wait_for_patch(model, device, decision, wait=any(waits))

    def peek(self, model: ModelView, device: DeviceContext, decision: Decision, now: datetime) -> Decision:
        """Return what `apply` would, without requesting anything."""
        if decision.rollout is None or not self._wait:
            return decision
        pairs = missing_patches(model, device, decision, GLP1)
        waits = [
            self._has_room_for(pair) and now < self._first_requested.get(pair, now) + self._wait
            for pair in pairs
        ]
        return _wait_for_patch(model, device, decision, wait=any(waits))

    def _request(self, pair: tuple[str, str], now: datetime) -> bool:
        """Count a request for this pair; return whether to wait for it."""
        if not self._has_room_for(pair):
            return False
        self._unwritten[pair] += 1
        return now < self._first_requested.setdefault(pair, now) + self._wait

    def _has_room_for(self, pair: tuple[str, str]) -> bool:
        return pair in self._first_requested or len(self._first_requested) < self._max_pairs

    async def run(self) -> None:
        """Write every few seconds until canceled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; while the database is down, keep it for the next flush."""
        if not self._unwritten:
            return
        counted, self._unwritten = self._unwritten, Counter()
        try:
            await commit_batch(self._engine, _write, [counted])
        except (SQLAlchemyError, OSError) as error:
            self._unwritten.update(counted)
            log("patch_demand").warning("patch_requests.kept", pairs=len(counted), error=type(error).__name__)


def _wait_for_patch(model: ModelView, device: DeviceContext, decision: Decision, *, wait: bool) -> Decision:
    if not wait or decision.action != "install" or _runs_revoked_version(model, device):
        return decision
    return replace(decision, reason="patch_building", action="none", deliveries=(), activation_deferred=False)


def _runs_revoked_version(model: ModelView, device: DeviceContext) -> bool:
    """Whether the device runs a revoked version; such a device must not wait."""
    current = model.versions.get(device.current or "")
    return current is not None and current.revoked


async def _write(connection: AsyncConnection, batches: Sequence[Counter[tuple[str, str]]]) -> Sequence[None]:
    requests = [
        {"source": source, "target": target, "count": count}
        for counted in batches
        for (source, target), count in counted.items()
    ]
    await connection.execute(ADD_REQUESTS, {"requests": json.dumps(requests)})
    return [None] * len(batches)
