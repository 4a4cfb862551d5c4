"""Virtual time: it stands still while the application responds, then jumps to the next scheduled request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from service.simulator.engine import ScheduledRequest, Simulation

STEP_S = 300.0
"""Requests that are due within this many simulated seconds are sent concurrently, so that the application can
batch its writes. Each of them still sees its own time. What follows from a response within the step happens in the
next step, also at its own time."""
CONCURRENCY = 500

PeriodicTask = tuple[float, Callable[[], Awaitable[None]]]
"""An interval in simulated seconds, and the function to call at that interval."""


class VirtualClock:
    """A clock that stands still until it is set, either for one task or for all."""

    speed = 1.0

    def __init__(self) -> None:
        """Start at the present time."""
        self._start = datetime.now(UTC)
        self._common_s = 0.0
        self._task_s: ContextVar[float | None] = ContextVar("task_s", default=None)

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        task_s = self._task_s.get()
        return self._common_s if task_s is None else task_s

    @property
    def epoch_s(self) -> float:
        """Seconds since 1970."""
        return self.now().timestamp()

    def now(self) -> datetime:
        """The time, as the application's clock."""
        return self._start + timedelta(seconds=self.now_s)

    def seconds_since_start(self, moment: datetime) -> float:
        """Seconds from the start to a moment."""
        return (moment - self._start).total_seconds()

    def advance_to(self, at_s: float) -> None:
        """Set the time for all tasks; it never goes back."""
        self._common_s = max(self._common_s, at_s)

    def set_for_task(self, at_s: float) -> None:
        """Set the time for the running task only."""
        self._task_s.set(at_s)


async def run(
    simulation: Simulation,
    clock: VirtualClock,
    until_s: float,
    periodic_tasks: Sequence[PeriodicTask] = (),
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Process all requests that are due until a moment.

    Args:
        simulation: uses `clock`.
        clock: set by this function.
        until_s: end, in simulated seconds since the start.
        periodic_tasks: called between steps, for example gate evaluation and progress.
        stop: ends the run after the current step.
    """
    next_calls = [interval_s for interval_s, _ in periodic_tasks]
    while simulation.next_due_s < until_s and not (stop and stop.is_set()):
        step_start_s = simulation.next_due_s
        clock.advance_to(step_start_s)
        requests = simulation.pop_due(min(step_start_s + STEP_S, until_s), CONCURRENCY)
        await asyncio.gather(*(_process_at_due_time(simulation, clock, request) for request in requests))
        for index, (interval_s, call) in enumerate(periodic_tasks):
            if step_start_s >= next_calls[index]:
                next_calls[index] = step_start_s + interval_s
                await call()
    if not (stop and stop.is_set()):
        clock.advance_to(until_s)


async def _process_at_due_time(
    simulation: Simulation, clock: VirtualClock, request: ScheduledRequest
) -> None:
    clock.set_for_task(request.due_s)
    await simulation.process(request)
