"""The simulation: a queue of requests that are due, their effects, and the statistics.

The engine does not move time. `virtual_clock` moves it as fast as the application responds, `over_http` at a
steady rate.
"""

import heapq
import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pydantic_core import from_json

from service.simulator.devices import VirtualDevice, draw_outcome, report_body
from service.simulator.scenario import Scenario
from service.simulator.statistics import Statistics
from service.testbed.devices import EVENTS, POLL

MAX_POLL_DELAY = 0.2
"""Devices poll later than `next_poll_s` by up to this share of it, as the contract specifies ("Time")."""
MEAN_POLL_FACTOR = 1 + MAX_POLL_DELAY / 2
RETRYABLE_STATUSES = {429, 503}


class Transport(Protocol):
    """Sends requests to the server."""

    async def post(self, device: VirtualDevice, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body. Raises OSError if there is no response."""


class SimulationClock(Protocol):
    """The time of a simulation."""

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start."""

    @property
    def epoch_s(self) -> float:
        """The same moment as the server's clock shows it, in seconds since 1970."""

    @property
    def speed(self) -> float:
        """Simulated seconds per second of the server."""


class ScheduledRequest(NamedTuple):
    """A request that a device will send; a tuple, because the heap of a large fleet compares these often."""

    due_s: float
    number: int
    device: VirtualDevice
    path: str
    body: bytes = b""


class Simulation:
    """A fleet, a transport to a server, and a queue of scheduled requests.

    Attributes:
        devices: the fleet.
        statistics: what has happened so far.
    """

    def __init__(
        self,
        scenario: Scenario,
        devices: Sequence[VirtualDevice],
        transport: Transport,
        clock: SimulationClock,
        rng: random.Random,
        *,
        poll_interval_s: float | None = None,
    ) -> None:
        """Schedule the first poll of each device, spread over one poll interval.

        Args:
            scenario: behavior of the fleet.
            devices: the fleet.
            transport: to the server.
            clock: simulated time.
            rng: source of all randomness.
            poll_interval_s: replaces the `next_poll_s` that the server sends.
        """
        self._scenario, self._transport, self._clock, self._rng = scenario, transport, clock, rng
        self._poll_interval_s = poll_interval_s
        self.devices = devices
        self.statistics = Statistics.of(devices)
        first_interval_s = (poll_interval_s or scenario.poll_interval_s) * MEAN_POLL_FACTOR
        self._last_number = len(devices)
        self._queue = [
            ScheduledRequest(rng.random() * first_interval_s, number, device, POLL)
            for number, device in enumerate(devices)
        ]
        heapq.heapify(self._queue)

    @property
    def next_due_s(self) -> float:
        """When the next request is due, in simulated seconds since the start."""
        return self._queue[0].due_s

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start."""
        return self._clock.now_s

    def pop_due(self, before_s: float, limit: int) -> list[ScheduledRequest]:
        """Remove and return up to `limit` requests that are due before a moment; hand each to `process`."""
        due: list[ScheduledRequest] = []
        while self._queue and len(due) < limit and self._queue[0].due_s < before_s:
            due.append(heapq.heappop(self._queue))
        return due

    async def process(self, request: ScheduledRequest) -> None:
        """Send one request, and schedule what follows from its response."""
        device, body = request.device, request.body or request.device.poll_body(self._scenario.model)
        if request.path == POLL:
            self.statistics.count_poll(self._clock.now_s)
        if self._is_lost(device):
            self.statistics.lost_requests += 1
            self._retry(request, body)
            return
        try:
            status, response = await self._transport.post(device, request.path, body)
        except OSError:
            self.statistics.failed_requests += 1
            self._retry(request, body)
            return
        self.statistics.statuses[status] += 1
        if status >= 400:
            self._handle_problem(request, body, status, response)
        elif request.path == POLL:
            device.backoff_s = 0.0
            self._handle_poll_response(device, from_json(response))

    def result(self) -> dict[str, Any]:
        """All figures, as `--json` prints them."""
        return {
            "devices": len(self.devices),
            "simulated_hours": round(self._clock.now_s / 3600, 2),
            **self.statistics.as_json(),
        }

    def _schedule(self, due_s: float, device: VirtualDevice, path: str, body: bytes = b"") -> None:
        self._last_number += 1
        heapq.heappush(self._queue, ScheduledRequest(due_s, self._last_number, device, path, body))

    def _is_lost(self, device: VirtualDevice) -> bool:
        hour = self._clock.now_s / 3600
        is_outage = any(
            outage.start_hour <= hour < outage.start_hour + outage.minutes / 60
            for outage in self._scenario.outages
        )
        return is_outage or self._rng.random() < device.network.loss

    def _retry(self, request: ScheduledRequest, body: bytes, retry_after_s: float = 0.0) -> None:
        pause_s = request.device.next_backoff_s(self._rng.random(), retry_after_s * self._clock.speed)
        # A poll is made anew when it is retried; a report must stay the same, because its event ids identify it.
        kept = body if request.path == EVENTS else b""
        self._schedule(self._clock.now_s + pause_s, request.device, request.path, kept)

    def _handle_problem(self, request: ScheduledRequest, body: bytes, status: int, response: bytes) -> None:
        problem = _parse_problem(response)
        if status in RETRYABLE_STATUSES:
            self._retry(request, body, float(problem.get("retry_after_s") or 0))
            return
        self.statistics.problems[str(problem.get("code", status))] += 1
        if request.path == POLL:
            self._schedule(self._clock.now_s + self._scenario.poll_interval_s, request.device, POLL)

    def _handle_poll_response(self, device: VirtualDevice, response: dict[str, Any]) -> None:
        self.statistics.reasons[response["reason"]] += 1
        self.statistics.legacy_polls += device.legacy_poll is not None
        pause_s = self._poll_interval_s or float(response["next_poll_s"])
        pause_s *= 1 + MAX_POLL_DELAY * self._rng.random()
        if response["need_update"]:
            pause_s = max(pause_s, self._install(device, response) + 1)
        self._schedule(self._clock.now_s + pause_s, device, POLL)

    def _install(self, device: VirtualDevice, response: dict[str, Any]) -> float:
        """Simulate download and installation, and schedule the report; return their duration in seconds."""
        downloads = [download for download in response["downloads"] if not download["keep"]]
        size: int = sum(download["options"][0]["size"] for download in downloads)
        duration_s: float = size * 8 / (device.network.mbit_s * 1e6)
        target: str = response["target_version"]
        outcome = draw_outcome(self._scenario, target, self._rng.random())
        attempt_id = response.get("attempt_id")
        self.statistics.count_offer(outcome)
        if outcome == "silent" or attempt_id is None:
            return duration_s
        self.statistics.bytes += size
        if outcome == "committed":
            self.statistics.count_switch(device.version, target)
            device.version = target
        body = report_body(
            device,
            attempt_id,
            outcome,
            size=size,
            epoch_s=self._clock.epoch_s + duration_s,
            rng=self._rng,
        )
        self._schedule(self._clock.now_s + duration_s, device, EVENTS, body)
        return duration_s


def _parse_problem(response: bytes) -> dict[str, Any]:
    """The problem in an error response; empty if a proxy answered instead of the server."""
    try:
        problem = json.loads(response)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
