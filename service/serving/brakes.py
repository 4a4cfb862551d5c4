"""Gates are looked at as soon as a report comes in that may decide one, in the process that took it in.

The beat does the same every few seconds; but a device may be given a bad version at any moment, and a
worker may be busy, or the broker away. The decision is the beat's own, under the rollout's lock.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from service import database
from service.observability import log
from service.operations import rollout_gates


class Brakes:
    """The rollouts that are to be looked at; one look at each for all reports that came meanwhile."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], *, pause_s: float) -> None:
        """Start with none; `run` does the work, `pause_s` after the first report about any."""
        self._engine = engine
        self._clock = clock
        self._pause_s = pause_s
        self._waiting: set[UUID] = set()
        self._noticed = asyncio.Event()

    def notice(self, rollouts: Iterable[UUID]) -> None:
        """Something has come in about these."""
        self._waiting.update(rollouts)
        if self._waiting:
            self._noticed.set()

    async def run(self) -> None:
        """Look until cancelled; what goes wrong is logged, and left to the beat."""
        while True:
            await self._noticed.wait()
            # Reports come in bursts: one look for all of them.
            await asyncio.sleep(self._pause_s)
            self._noticed.clear()
            taken, self._waiting = self._waiting, set()
            look = asyncio.ensure_future(asyncio.to_thread(self._look, sorted(taken)))
            try:
                await asyncio.shield(look)
            except asyncio.CancelledError:
                # The thread holds a connection; the process must not take the pool away from it.
                await asyncio.wait([look])
                raise

    def _look(self, rollouts: Iterable[UUID]) -> None:
        for rollout_id in rollouts:
            try:
                with database.transaction(self._engine) as session:
                    rollout_gates.evaluate(session, rollout_id, now=self._clock())
            except Exception:  # noqa: BLE001 - one rollout must not keep the brakes from the others
                log("brakes").exception("brakes.failed", rollout=str(rollout_id))
