"""The load of this process: how busy the event loop is, and how late it wakes up."""

import asyncio
import time

from service.domain.platform.load import Load

SAMPLE_INTERVAL_S = 0.1
MIN_REQUESTS = 20
"""With fewer requests in a sample, a late event loop has other causes, so it does not count as load."""
SMOOTHING = 0.8
"""Weight of the past in each sample; it halves in 0.3 seconds."""


class LoadMonitor:
    """Measures the load of one process.

    Attributes:
        load: the load at the last sample.
    """

    def __init__(self) -> None:
        """Start idle."""
        self.load = Load()
        self._overridden = False
        self._arrived = 0

    def override(self, load: Load) -> None:
        """Report this load from now on, without measuring; for simulations, which are always busy."""
        self.load, self._overridden = load, True

    def count_request(self) -> None:
        """Record that a request has started."""
        self._arrived += 1

    async def run(self) -> None:
        """Take samples until canceled."""
        while True:
            wall, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(SAMPLE_INTERVAL_S)
            self.record_sample(time.monotonic() - wall, time.thread_time() - cpu)

    def record_sample(self, wall_s: float, cpu_s: float) -> None:
        """Update the load with one sample.

        Args:
            wall_s: how long a sleep of `SAMPLE_INTERVAL_S` took.
            cpu_s: CPU time of the event loop's thread during it.
        """
        if self._overridden:
            return
        arrived, self._arrived = self._arrived, 0
        if arrived < MIN_REQUESTS:
            wall_s, cpu_s = SAMPLE_INTERVAL_S, 0.0
        delay = max(0.0, wall_s - SAMPLE_INTERVAL_S)
        # A longer delay counts at once, a shorter one only after some samples.
        smoothed = delay if delay > self.load.late_s else _smooth(self.load.late_s, delay)
        self.load = Load(min(1.0, _smooth(self.load.busy, cpu_s / max(wall_s, 1e-9))), smoothed)


def _smooth(past: float, present: float) -> float:
    return SMOOTHING * past + (1 - SMOOTHING) * present
