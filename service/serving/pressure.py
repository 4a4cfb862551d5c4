"""How loaded this process is, measured on itself: time at work, and how late its event loop wakes."""

import asyncio
import random
import time

from service.domain.load import Load, come_back_s, turned_away
from service.errors import Unavailable

LOOK_EVERY_S = 0.1
CROWD = 20
"""Requests between two looks below which lateness has other causes: nobody is turned away for a slow machine."""
REMEMBERED = 0.8
"""Weight of the past in each look: half of it is forgotten in 0.3 seconds."""


class Pressure:
    """The load of one process; `run` keeps it up to date.

    Attributes:
        load: as of the last look.
    """

    def __init__(self) -> None:
        """Start idle."""
        self.load = Load()
        self._pinned = False
        self._came = 0

    def pin(self, load: Load) -> None:
        """Believe this from now on, whatever is measured: for simulations, which are always busy."""
        self.load, self._pinned = load, True

    def admit(self) -> None:
        """Turn some away while we are late: a quick no, so that the others are answered in time.

        Raises:
            Unavailable: come back later; the time is another for each device.
        """
        self._came += 1
        share = turned_away(self.load)
        if share and random.random() < share:  # noqa: S311 - timing, not a secret
            again = come_back_s(random.random())  # noqa: S311 - the same
            raise Unavailable("more requests than this server can answer in time", retry_after_s=again)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            wall, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(LOOK_EVERY_S)
            self.note(time.monotonic() - wall, time.thread_time() - cpu)

    def note(self, wall_s: float, cpu_s: float) -> None:
        """Take one look into account.

        Args:
            wall_s: how long a pause of `LOOK_EVERY_S` took.
            cpu_s: processor time of the event loop's thread meanwhile.
        """
        if self._pinned:
            return
        came, self._came = self._came, 0
        if came < CROWD:
            wall_s, cpu_s = LOOK_EVERY_S, 0.0
        late = max(0.0, wall_s - LOOK_EVERY_S)
        # A long delay counts at once; that it is over has to be seen a few times.
        smoothed = late if late > self.load.late_s else _mix(self.load.late_s, late)
        self.load = Load(min(1.0, _mix(self.load.busy, cpu_s / max(wall_s, 1e-9))), smoothed)


def _mix(past: float, present: float) -> float:
    return REMEMBERED * past + (1 - REMEMBERED) * present
