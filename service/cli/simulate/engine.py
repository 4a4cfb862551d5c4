"""The simulation itself: what is due next happens next, in simulated time or in the real one."""

import asyncio
import heapq
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.cli.simulate.devices import Virtual, outcome, report
from service.cli.simulate.scenario import Scenario

POLL, EVENTS = "/v1/model/update", "/v1/model/events"
AT_ONCE = 200
"""Requests under way at the same time, and how many due ones are taken together."""
TOGETHER_S = 1.0
"""Things due within so many simulated seconds happen at the same moment."""


class Line(Protocol):
    """How devices reach the server."""

    async def post(self, device: Virtual, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; OSError where there was none."""


class Time(Protocol):
    """Where the simulation is."""

    @property
    def now_s(self) -> float:
        """Seconds since the simulation began."""

    @property
    def epoch_s(self) -> float:
        """The same moment in seconds since 1970, as the server sees it."""

    async def reach(self, at_s: float) -> None:
        """Come to a moment: by setting the clock, or by waiting."""


@dataclass(slots=True)
class Tally:
    """What happened so far.

    Attributes:
        minutes: polls in each minute of simulated time.
    """

    polls: int = 0
    offers: int = 0
    bytes: int = 0
    unanswered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    minutes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def spike(self) -> float:
        """The busiest minute in proportion to the mean; 0 before anything happened."""
        if not self.minutes:
            return 0.0
        return max(self.minutes.values()) / (sum(self.minutes.values()) / (max(self.minutes) + 1))


@dataclass(order=True, slots=True)
class _Due:
    at_s: float
    number: int
    device: Virtual = field(compare=False)
    path: str = field(compare=False)
    body: bytes = field(compare=False, default=b"")


class Simulation:
    """A fleet, a line to a server, and a queue of what is due."""

    def __init__(
        self,
        scenario: Scenario,
        devices: Sequence[Virtual],
        line: Line,
        time: Time,
        rng: random.Random,
        *,
        pause_s: float | None = None,
    ) -> None:
        """Spread the first polls over one pause.

        Args:
            scenario: what the fleet is like.
            devices: the fleet.
            line: to the server.
            time: simulated or real.
            rng: all chance comes from here.
            pause_s: between two polls of a device, in place of what the server asks for.
        """
        self._scenario, self._line, self._time, self._rng = scenario, line, time, rng
        self._pause_s = pause_s
        self.devices = devices
        self.tally = Tally()
        self._queue: list[_Due] = []
        self._number = 0
        first = pause_s or scenario.poll_s
        for device in devices:
            self._due(rng.random() * first, device, POLL)

    async def run(
        self, until_s: float, looks: Sequence[tuple[float, Callable[[], Awaitable[None]]]] = ()
    ) -> None:
        """Let everything happen that is due until a moment.

        Args:
            until_s: the end, seconds of simulated time.
            looks: (pause in seconds, what to do again and again): gates, progress.
        """
        next_looks = [pause for pause, _ in looks]
        while self._queue and self._queue[0].at_s < until_s:
            batch = self._take()
            await self._time.reach(batch[0].at_s)
            await asyncio.gather(*(self._happen(due) for due in batch))
            for index, (pause, look) in enumerate(looks):
                if self._time.now_s >= next_looks[index]:
                    next_looks[index] = self._time.now_s + pause
                    await look()

    def _take(self) -> list[_Due]:
        batch = [heapq.heappop(self._queue)]
        while self._queue and len(batch) < AT_ONCE and self._queue[0].at_s < batch[0].at_s + TOGETHER_S:
            batch.append(heapq.heappop(self._queue))
        return batch

    def _due(self, at_s: float, device: Virtual, path: str, body: bytes = b"") -> None:
        self._number += 1
        heapq.heappush(self._queue, _Due(at_s, self._number, device, path, body))

    async def _happen(self, due: _Due) -> None:
        device, body = due.device, due.body or due.device.poll(self._scenario.model)
        if due.path == POLL:
            self.tally.polls += 1
            self.tally.minutes[int(self._time.now_s // 60)] += 1
        try:
            status, answer = await self._reach(device, due.path, body)
        except OSError:
            self.tally.unanswered += 1
            self._again(due, body)
            return
        self.tally.statuses[status] += 1
        if status >= 400:
            self._refused(due, body, status, answer)
        elif due.path == POLL:
            device.waited_s = 0.0
            self._answered(device, json.loads(answer))

    async def _reach(self, device: Virtual, path: str, body: bytes) -> tuple[int, bytes]:
        hour = self._time.now_s / 3600
        down = any(one.from_hour <= hour < one.from_hour + one.minutes / 60 for one in self._scenario.outages)
        if down or self._rng.random() < device.network.loss:
            raise ConnectionError
        return await self._line.post(device, path, body)

    def _again(self, due: _Due, body: bytes, retry_after_s: float = 0.0) -> None:
        wait = due.device.back_off_s(self._rng.random(), retry_after_s)
        self._due(self._time.now_s + wait, due.device, due.path, body if due.path == EVENTS else b"")

    def _refused(self, due: _Due, body: bytes, status: int, answer: bytes) -> None:
        problem = json.loads(answer)
        if status in {429, 503}:
            self._again(due, body, float(problem.get("retry_after_s") or 0))
            return
        self.tally.faults[str(problem.get("code", status))] += 1
        if due.path == POLL:
            self._due(self._time.now_s + self._scenario.poll_s, due.device, POLL)

    def _answered(self, device: Virtual, answer: dict[str, Any]) -> None:
        self.tally.reasons[answer["reason"]] += 1
        # Up to a fifth longer than told, as the contract says ("Time").
        pause = (self._pause_s or float(answer["next_poll_s"])) * (1 + 0.2 * self._rng.random())
        if answer["need_update"]:
            pause = max(pause, self._obey(device, answer) + 1)
        self._due(self._time.now_s + pause, device, POLL)

    def _obey(self, device: Virtual, answer: dict[str, Any]) -> float:
        """Download, report; the seconds that it takes."""
        needed = [part for part in answer["downloads"] if not part["keep"]]
        size: int = sum(part["ways"][0]["size"] for part in needed)
        seconds: float = size * 8 / (device.network.mbit_s * 1e6)
        end = outcome(self._scenario, answer["target_version"], self._rng.random())
        self.tally.offers += 1
        self.tally.outcomes[end] += 1
        attempt = answer.get("attempt_id")
        if end == "silent" or attempt is None:
            return seconds
        self.tally.bytes += size
        if end == "committed":
            device.version = answer["target_version"]
        body = report(device, attempt, end, size, self._time.epoch_s + seconds, self._rng)
        self._due(self._time.now_s + seconds, device, EVENTS, body)
        return seconds

    def result(self) -> dict[str, Any]:
        """All figures, as JSON has them."""
        tally = self.tally
        return {
            "devices": len(self.devices),
            "simulated_hours": round(self._time.now_s / 3600, 2),
            "polls": tally.polls,
            "unanswered": tally.unanswered,
            "offers": tally.offers,
            "bytes": tally.bytes,
            "outcomes": dict(tally.outcomes),
            "reasons": dict(tally.reasons),
            "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
            "faults": dict(tally.faults),
            "versions": dict(Counter(device.version for device in self.devices)),
            "busiest_minute": max(tally.minutes.values(), default=0),
            "spike": round(tally.spike(), 2),
        }
