"""How loaded this process is, measured on itself: time at work, and how late its event loop wakes."""

import asyncio
import time

from service.domain.load import FIRST_ROOM, ONE_IN, Load, come_back_s, room
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
        inside: requests that have had their first turn and are not answered yet.
    """

    def __init__(self) -> None:
        """Start idle."""
        self.load = Load()
        self.inside = 0
        self._pinned = False
        self._came = 0
        self._room, self._most_waited, self._without_room = FIRST_ROOM, 0, 0

    def pin(self, load: Load) -> None:
        """Believe this from now on, whatever is measured: for simulations, which are always busy."""
        self.load, self._pinned = load, True

    def enter(self) -> None:
        """A request has its first turn."""
        self._came += 1
        self.inside += 1

    def leave(self) -> None:
        """It has been answered, whatever became of it."""
        self.inside -= 1

    def is_full(self, waiting: int) -> bool:
        """Whether a request that has arrived finds no room, and is to be turned away before it costs anything.

        Args:
            waiting: how many have arrived before it and not had their first turn.
        """
        self._most_waited = max(self._most_waited, waiting)
        if waiting < self._room or self._pinned:
            return False
        self._came += 1
        self._without_room += 1
        return self._without_room % ONE_IN != 0

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
        self._room, self._most_waited = room(self._room, late, self._most_waited), 0
        # A long delay counts at once; that it is over has to be seen a few times.
        smoothed = late if late > self.load.late_s else _mix(self.load.late_s, late)
        self.load = Load(min(1.0, _mix(self.load.busy, cpu_s / max(wall_s, 1e-9))), smoothed)


def no_room(chance: float) -> Unavailable:
    """The refusal; it may be sent again after a time that `chance`, 0 to 1, chooses."""
    return Unavailable("more requests than this server can answer in time", retry_after_s=come_back_s(chance))


def _mix(past: float, present: float) -> float:
    return REMEMBERED * past + (1 - REMEMBERED) * present
