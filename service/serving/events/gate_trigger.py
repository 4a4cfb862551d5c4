"""Evaluates gates soon after an event that may decide one, in the process that ingested it.

The scheduled task evaluates gates every few seconds too. But a device may get a bad version at any moment, and a worker
may be busy or the broker down. Both evaluate a rollout in the same way, under the lock of its row.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from service.infrastructure import database
from service.infrastructure.observability import log
from service.operations.rollouts import gates


class GateTrigger:
    """The rollouts whose gates are due; one evaluation covers all events that arrived before it."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], *, delay_s: float) -> None:
        """Start with none; `run` evaluates them `delay_s` seconds after the first notification."""
        self._engine = engine
        self._clock = clock
        self._delay_s = delay_s
        self._waiting: set[UUID] = set()
        self._notified = asyncio.Event()

    def notify(self, rollouts: Iterable[UUID]) -> None:
        """Mark the gates of these rollouts as due."""
        self._waiting.update(rollouts)
        if self._waiting:
            self._notified.set()

    async def run(self) -> None:
        """Evaluate until canceled; failures are logged and left to the scheduled task."""
        while True:
            await self._notified.wait()
            # Events arrive in bursts, and one evaluation covers a whole burst.
            await asyncio.sleep(self._delay_s)
            self._notified.clear()
            rollouts, self._waiting = self._waiting, set()
            evaluation = asyncio.ensure_future(asyncio.to_thread(self._evaluate, sorted(rollouts)))
            try:
                await asyncio.shield(evaluation)
            except asyncio.CancelledError:
                # The thread uses a connection, so the pool must not be closed before it ends.
                await asyncio.wait([evaluation])
                raise

    def _evaluate(self, rollouts: Iterable[UUID]) -> None:
        for rollout_id in rollouts:
            try:
                with database.transaction(self._engine) as session:
                    gates.evaluate(session, rollout_id, now=self._clock())
            except Exception:  # noqa: BLE001 - one rollout must not stop the evaluation of the others
                log("gate_trigger").exception("gate_evaluation.failed", rollout=str(rollout_id))
