"""Benchmark cases, one per kind of request. Their blocks run in turns, within one run."""

import gc
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from service.benchmarks.measurement import Cost, measure
from service.infrastructure.clock import utc_now
from service.infrastructure.tokens import AccessTokens
from service.testbed import dataset
from service.testbed.asgi import App, HttpResponse, PreparedRequest
from service.testbed.devices import (
    EVENTS,
    POLL,
    SyntheticDevice,
    access_token_request,
    device_key_request,
    events_body,
    poll_body,
)

DEVICES_PER_BLOCK = 1000
EVENT_BATCHES_PER_BLOCK = 60
REPETITIONS = 50
"""Repetitions of a block of event batches, enough to last for seconds."""
Progress = Callable[[str], None]
"""Prints a line of progress."""
MakeRequests = Callable[[Sequence[SyntheticDevice]], list[PreparedRequest]]
"""Makes the requests of some devices; each list is sent once, since events and signed polls are valid once."""


@dataclass(slots=True)
class Case:
    """One kind of request to one application.

    Attributes:
        make_requests: makes the requests of a block.
        check: raises `UnexpectedResponse` if a response is not the one that the case measures.
        items_per_request: for example the events in one batch.
        costs: measured blocks, without the warm-up.
    """

    name: str
    app: App
    make_requests: MakeRequests
    check: Callable[[HttpResponse], None]
    items_per_request: int = 1
    costs: list[Cost] = field(default_factory=list)

    def cpu_us_per_item(self) -> float:
        """CPU time per item, median over the blocks, microseconds."""
        per_request = median(cost.cpu_s / cost.requests for cost in self.costs)
        return per_request / self.items_per_request * 1e6


class UnexpectedResponse(Exception):
    """A response shows that the benchmark does not measure what it is supposed to."""


async def run_cases(
    cases: Sequence[Case], rounds: int, blocks: Iterator[Sequence[SyntheticDevice]], report: Progress
) -> None:
    """Run one block of every case per round, so that a busy machine slows all cases alike.

    The first round is a warm-up and is not counted. All cases of a round use the same devices, and each round uses
    others, because a device is offered a version only once.
    """
    for number in range(rounds + 1):
        report(f"round {number} of {rounds}")
        devices = next(blocks)
        for case in cases:
            requests = case.make_requests(devices)
            gc.collect()
            cost = await measure(case.app, requests, _flush_of(case.app), case.check)
            if number:
                case.costs.append(cost)


def _flush_of(app: Any) -> Callable[[], Awaitable[None]]:
    async def flush() -> None:
        process = getattr(app.state, "process", None)
        if process is not None:
            await process.checkins.flush()

    return flush


def device_blocks(devices: Sequence[SyntheticDevice]) -> Iterator[Sequence[SyntheticDevice]]:
    """Blocks of devices, in turn, without end."""
    while True:
        for start in range(0, len(devices), DEVICES_PER_BLOCK):
            yield devices[start : start + DEVICES_PER_BLOCK]


def expect_no_update(response: HttpResponse) -> None:
    """Require a signed response without an update."""
    if (
        response.status != 200
        or json.loads(response.body)["need_update"]
        or b'"directive"' not in response.body
    ):
        raise UnexpectedResponse(_excerpt(response))


def expect_offer(response: HttpResponse) -> None:
    """Require an offer that was recorded as an attempt."""
    if response.status != 200 or not json.loads(response.body).get("attempt_id"):
        raise UnexpectedResponse(_excerpt(response))


def expect_events_accepted(response: HttpResponse) -> None:
    """Require that all events of the batch were new."""
    if response.status != 202 or json.loads(response.body)["duplicates"]:
        raise UnexpectedResponse(_excerpt(response))


def expect_ok(response: HttpResponse) -> None:
    """Require status 200."""
    if response.status != 200:
        raise UnexpectedResponse(_excerpt(response))


def access_token_polls(
    model: str, tokens: AccessTokens, current: str = dataset.CURRENT_VERSION
) -> MakeRequests:
    """Polls that are authenticated by access tokens."""

    def make(devices: Sequence[SyntheticDevice]) -> list[PreparedRequest]:
        now = utc_now()
        return [
            access_token_request(device, POLL, poll_body(device, model, current), tokens, now)
            for device in devices
        ]

    return make


def device_key_polls(devices: Sequence[SyntheticDevice]) -> list[PreparedRequest]:
    """Polls that are authenticated by device-key tokens."""
    now = utc_now()
    return [
        device_key_request(
            device, POLL, poll_body(device, dataset.NO_UPDATE_MODEL, dataset.CURRENT_VERSION), now
        )
        for device in devices
    ]


def event_batches(count: int, tokens: AccessTokens) -> MakeRequests:
    """Batches of `count` events; single events come from all devices, larger batches from a few."""

    def make(devices: Sequence[SyntheticDevice]) -> list[PreparedRequest]:
        now = utc_now()
        senders = devices if count == 1 else devices[:EVENT_BATCHES_PER_BLOCK]
        return [access_token_request(device, EVENTS, events_body(count), tokens, now) for device in senders]

    return make


def repeated_event_batches(count: int, tokens: AccessTokens) -> MakeRequests:
    """Event batches for several seconds of load, all different: a batch that comes twice costs less."""
    make = event_batches(count, tokens)
    return lambda devices: [request for _ in range(REPETITIONS) for request in make(devices)]


def _excerpt(response: HttpResponse) -> str:
    return f"status {response.status}: {response.body[:300].decode(errors='replace')}"
