"""Simulated time: it stands still while the application answers, and goes to what is due next at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from service.cli.simulate.engine import Due, Simulation

STEP_S = 300.0
"""What is due within so many simulated seconds is under way together, as on a busy server: group commits live from it.

Each request still sees its own moment. What follows from an answer within the same step comes in the next one, at its
own moment, too."""
AT_ONCE = 500

Look = tuple[float, Callable[[], Awaitable[None]]]
"""A pause in simulated seconds, and what is done again and again after it."""


class SetTime:
    """A clock that stands still until it is set, for each task by itself or for all."""

    speed = 1.0

    def __init__(self) -> None:
        """Begin now."""
        self._began = datetime.now(UTC)
        self._all_s = 0.0
        self._own_s: ContextVar[float | None] = ContextVar("own_s", default=None)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        own_s = self._own_s.get()
        return self._all_s if own_s is None else own_s

    @property
    def epoch_s(self) -> float:
        """Seconds since 1970."""
        return self.moment().timestamp()

    def reach(self, at_s: float) -> None:
        """Be there at once, for all; time never goes back."""
        self._all_s = max(self._all_s, at_s)

    def own(self, at_s: float) -> None:
        """Be there in this task alone, and in what it calls."""
        self._own_s.set(at_s)

    def seconds_at(self, moment: datetime) -> float:
        """How far a moment is from the beginning."""
        return (moment - self._began).total_seconds()

    def moment(self) -> datetime:
        """The clock of the application."""
        return self._began + timedelta(seconds=self.now_s)


async def run(
    simulation: Simulation,
    time: SetTime,
    until_s: float,
    looks: Sequence[Look] = (),
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Let everything happen that is due until a moment.

    Args:
        simulation: the fleet, on this time.
        time: is set by this.
        until_s: the end, seconds of simulated time.
        looks: gates, progress: what happens beside the devices.
        stop: ends it before that, after the step that is under way.
    """
    next_looks = [pause for pause, _ in looks]
    while simulation.next_s < until_s and not (stop and stop.is_set()):
        began_s = simulation.next_s
        time.reach(began_s)
        step = simulation.take(min(began_s + STEP_S, until_s), AT_ONCE)
        # A task each, all made before any of them runs: their first writes share one commit.
        await asyncio.gather(*(_one(simulation, time, due) for due in step))
        for index, (pause, look) in enumerate(looks):
            if began_s >= next_looks[index]:
                next_looks[index] = began_s + pause
                await look()
    if not (stop and stop.is_set()):
        time.reach(until_s)


async def _one(simulation: Simulation, time: SetTime, due: Due) -> None:
    time.own(due.at_s)
    await simulation.happen(due)
