"""CPU and wall time of a block of requests to an ASGI application."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from service.testbed.asgi import App, HttpResponse, PreparedRequest, send

CONCURRENCY = 128
"""Requests at the same time, as on a busy server; batched reads and writes depend on it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a block of requests.

    Attributes:
        requests: number of requests.
        cpu_s: CPU time of this process, all threads, seconds.
        wall_s: elapsed time, seconds.
    """

    requests: int
    cpu_s: float
    wall_s: float


async def measure(
    app: App,
    requests: Sequence[PreparedRequest],
    flush: Callable[[], Awaitable[None]],
    check: Callable[[HttpResponse], None],
) -> Cost:
    """Send all requests, `CONCURRENCY` at a time, and measure what they cost.

    Args:
        app: the application.
        requests: what to send.
        flush: awaited at the end, as part of the measurement; for example writes buffered check-ins.
        check: called with every response after the measurement; raises if it is not the expected one.
    """
    responses: list[HttpResponse] = []
    queue = iter(requests)
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_send_from(queue, app, responses) for _ in range(CONCURRENCY)))
    await flush()
    cost = Cost(len(requests), time.process_time() - cpu, time.perf_counter() - wall)
    for response in responses:
        check(response)
    return cost


async def _send_from(queue: Iterator[PreparedRequest], app: App, responses: list[HttpResponse]) -> None:
    responses.extend([await send(app, request) for request in queue])
