"""Requests straight into an ASGI application: no sockets, so that only the application's work is measured."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

IN_FLIGHT = 128
"""Requests under way at the same time, as on a busy server; group commits live from it."""

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """One POST, ready to be sent."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """What a block of calls took.

    Attributes:
        cpu_s: processor time of this process, all threads, seconds.
        wall_s: seconds.
    """

    calls: int
    cpu_s: float
    wall_s: float


async def send(app: App, call: Call, client: str = "127.0.0.1") -> Reply:
    """One request and its answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(call.headers),
        "client": (client, 40000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    inbox = [{"type": "http.request", "body": call.body, "more_body": False}]
    status = 0
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return inbox.pop() if inbox else {"type": "http.disconnect"}

    async def take(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, take)
    return Reply(status, b"".join(parts))


async def measure(
    app: App, calls: Sequence[Call], settle: Callable[[], Awaitable[None]], expect: Callable[[Reply], None]
) -> Cost:
    """Send all calls, `IN_FLIGHT` at a time; `settle` ends what they left to be done, inside the measurement.

    Args:
        app: the application.
        calls: what to send.
        settle: awaited at the end, for example to write check-ins.
        expect: looks at every answer, outside the measurement, and raises if it is a wrong one.
    """
    replies: list[Reply] = []
    queue = iter(calls)
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_worker(app, queue, replies) for _ in range(IN_FLIGHT)))
    await settle()
    cost = Cost(len(calls), time.process_time() - cpu, time.perf_counter() - wall)
    for reply in replies:
        expect(reply)
    return cost


async def _worker(app: App, queue: Iterator[Call], replies: list[Reply]) -> None:
    replies.extend([await send(app, call) for call in queue])
