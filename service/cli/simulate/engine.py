"""The simulation itself: what is due, what happens when it is its time, and what has happened so far.

Time passes elsewhere: in `stepping` as fast as the application answers, in `remote` at a steady rate.
"""

import heapq
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pydantic_core import from_json

from service.cli.simulate.devices import Virtual, outcome, report
from service.cli.simulate.scenario import Scenario

POLL, EVENTS = "/v1/model/update", "/v1/model/events"
PATIENCE = 0.2
"""Devices come up to so much later than told, in proportion, as the contract says ("Time")."""
MEAN_PATIENCE = 1 + PATIENCE / 2


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

    @property
    def speed(self) -> float:
        """Seconds of the devices' time in one of the server's."""


@dataclass(slots=True)
class Tally:
    """What happened so far.

    Attributes:
        minutes: polls in each minute of simulated time.
        replayed: polls of devices that send what earlier releases sent, as far as they were answered.
        unanswered: requests that the scenario lost on their way.
        unreachable: requests that the server did not answer, and nobody wanted that.
    """

    polls: int = 0
    replayed: int = 0
    offers: int = 0
    bytes: int = 0
    unanswered: int = 0
    unreachable: int = 0
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


class Due(NamedTuple):
    """A request that a device is going to send; a tuple, since a fleet's heap compares them all the time."""

    at_s: float
    number: int
    device: Virtual
    path: str
    body: bytes = b""


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
        self._versions = Counter(device.version for device in devices)
        first = (pause_s or scenario.poll_s) * MEAN_PATIENCE
        self._number = len(devices)
        self._queue = [
            Due(rng.random() * first, number, device, POLL) for number, device in enumerate(devices)
        ]
        heapq.heapify(self._queue)

    @property
    def next_s(self) -> float:
        """When something is due next."""
        return self._queue[0].at_s

    @property
    def now_s(self) -> float:
        """How far it has come."""
        return self._time.now_s

    def take(self, before_s: float, most: int) -> list[Due]:
        """What is due before a moment, the earliest first, at most so many; it is to be given to `happen`."""
        taken: list[Due] = []
        while self._queue and len(taken) < most and self._queue[0].at_s < before_s:
            taken.append(heapq.heappop(self._queue))
        return taken

    async def happen(self, due: Due) -> None:
        """One request, its answer, and what follows from that."""
        device, body = due.device, due.body or due.device.poll(self._scenario.model)
        if due.path == POLL:
            self.tally.polls += 1
            self.tally.minutes[int(self._time.now_s // 60)] += 1
        if self._lost(device):
            self.tally.unanswered += 1
            self._again(due, body)
            return
        try:
            status, answer = await self._line.post(device, due.path, body)
        except OSError:
            self.tally.unreachable += 1
            self._again(due, body)
            return
        self.tally.statuses[status] += 1
        if status >= 400:
            self._refused(due, body, status, answer)
        elif due.path == POLL:
            device.waited_s = 0.0
            self._answered(device, from_json(answer))

    def _due(self, at_s: float, device: Virtual, path: str, body: bytes = b"") -> None:
        self._number += 1
        heapq.heappush(self._queue, Due(at_s, self._number, device, path, body))

    def _lost(self, device: Virtual) -> bool:
        hour = self._time.now_s / 3600
        down = any(one.from_hour <= hour < one.from_hour + one.minutes / 60 for one in self._scenario.outages)
        return down or self._rng.random() < device.network.loss

    def _again(self, due: Due, body: bytes, retry_after_s: float = 0.0) -> None:
        wait = due.device.back_off_s(self._rng.random(), retry_after_s * self._time.speed)
        self._due(self._time.now_s + wait, due.device, due.path, body if due.path == EVENTS else b"")

    def _refused(self, due: Due, body: bytes, status: int, answer: bytes) -> None:
        problem = _problem(answer)
        if status in {429, 503}:
            self._again(due, body, float(problem.get("retry_after_s") or 0))
            return
        self.tally.faults[str(problem.get("code", status))] += 1
        if due.path == POLL:
            self._due(self._time.now_s + self._scenario.poll_s, due.device, POLL)

    def _answered(self, device: Virtual, answer: dict[str, Any]) -> None:
        self.tally.reasons[answer["reason"]] += 1
        self.tally.replayed += device.old is not None
        pause = (self._pause_s or float(answer["next_poll_s"])) * (1 + PATIENCE * self._rng.random())
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
            self._versions[device.version] -= 1
            device.version = answer["target_version"]
            self._versions[device.version] += 1
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
            "replayed": tally.replayed,
            "unanswered": tally.unanswered,
            "unreachable": tally.unreachable,
            "offers": tally.offers,
            "bytes": tally.bytes,
            "outcomes": dict(tally.outcomes),
            "reasons": dict(tally.reasons),
            "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
            "faults": dict(tally.faults),
            "versions": {label: count for label, count in self._versions.items() if count},
            "busiest_minute": max(tally.minutes.values(), default=0),
            "spike": round(tally.spike(), 2),
        }


def _problem(answer: bytes) -> dict[str, Any]:
    """What a refusal says; nothing where something in between has answered in our server's place."""
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
