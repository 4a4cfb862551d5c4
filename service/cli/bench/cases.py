"""Kinds of requests, and how their costs are compared: blocks of each in turns, all in one run."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from service.cli.bench import world
from service.cli.bench.asgi import App, Call, Cost, Reply, measure
from service.cli.bench.fleet import (
    EVENTS,
    POLL,
    Handset,
    events_body,
    poll_body,
    with_access_token,
    with_device_key,
)
from service.tokens import AccessTokens, utc_now

BLOCK = 1000
EVENT_CALLS = 60
Say = Callable[[str], None]


@dataclass(slots=True)
class Case:
    """One kind of request to one application.

    Attributes:
        make: requests for some devices, each good for one block.
        expect: raises where an answer is not the one that the case is about.
        weight: how many things one request carries.
    """

    name: str
    app: App
    make: Callable[[Sequence[Handset]], list[Call]]
    expect: Callable[[Reply], None]
    weight: int = 1
    costs: list[Cost] = field(default_factory=list)

    def cpu_us(self) -> float:
        """Processor time of one request, median over the blocks, microseconds."""
        return median(cost.cpu_s / cost.calls for cost in self.costs) * 1e6


class WrongAnswer(Exception):
    """A benchmark measured something else than it says."""


async def run_cases(cases: Sequence[Case], rounds: int, fleet: Iterator[Sequence[Handset]], say: Say) -> None:
    """Blocks of all cases in turns, so that a busy machine slows all of them alike; the first round warms up."""
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}")
        # The same devices for all cases of a round, and others in each round: a device is offered something once.
        devices = next(fleet)
        for case in cases:
            calls = case.make(devices)
            gc.collect()
            cost = await measure(case.app, calls, _settling(case.app), case.expect)
            if number:
                case.costs.append(cost)


def _settling(app: Any) -> Callable[[], Any]:
    async def settle() -> None:
        held = getattr(app.state, "process", None)
        if held is not None:
            await held.checkins.flush()

    return settle


def batches(fleet: Sequence[Handset]) -> Iterator[Sequence[Handset]]:
    """Another block of devices each time; all of them in turns."""
    while True:
        for start in range(0, len(fleet), BLOCK):
            yield fleet[start : start + BLOCK]


def no_update(reply: Reply) -> None:
    """The answer is a signed no."""
    if reply.status != 200 or json.loads(reply.body)["need_update"] or b'"directive"' not in reply.body:
        raise WrongAnswer(reply.body[:300].decode())


def an_offer(reply: Reply) -> None:
    """The answer is an offer that has been written down."""
    if reply.status != 200 or not json.loads(reply.body).get("attempt_id"):
        raise WrongAnswer(reply.body[:300].decode())


def taken_in(reply: Reply) -> None:
    """All events of the batch were new."""
    if reply.status != 202 or json.loads(reply.body)["duplicates"]:
        raise WrongAnswer(reply.body[:300].decode())


def answered(reply: Reply) -> None:
    """The empty handler answered."""
    if reply.status != 200:
        raise WrongAnswer(reply.body[:300].decode())


def polls(
    model: str, tokens: AccessTokens, current: str = world.RUNNING
) -> Callable[[Sequence[Handset]], list[Call]]:
    """Polls with access tokens."""

    def make(devices: Sequence[Handset]) -> list[Call]:
        now = utc_now()
        return [with_access_token(one, POLL, poll_body(one, model, current), tokens, now) for one in devices]

    return make


def signed_polls(devices: Sequence[Handset]) -> list[Call]:
    """Polls with device-key tokens."""
    now = utc_now()
    return [with_device_key(one, POLL, poll_body(one, world.QUIET, world.RUNNING), now) for one in devices]


def reports(count: int, tokens: AccessTokens) -> Callable[[Sequence[Handset]], list[Call]]:
    """Batches of events."""

    def make(devices: Sequence[Handset]) -> list[Call]:
        now = utc_now()
        chosen = devices if count == 1 else devices[:EVENT_CALLS]
        return [with_access_token(one, EVENTS, events_body(count), tokens, now) for one in chosen]

    return make


def many_reports(count: int, tokens: AccessTokens) -> Callable[[Sequence[Handset]], list[Call]]:
    """As many batches as last for seconds: a batch that comes again is only known again."""
    make = reports(count, tokens)
    return lambda devices: [call for _ in range(50) for call in make(devices)]
