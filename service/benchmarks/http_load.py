"""Load on a real API process over loopback sockets: highest rate, and latency at a steady rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from statistics import quantiles

import psycopg

from service.api.baseline_app import create_baseline_app
from service.infrastructure.embedded import free_ports
from service.testbed.asgi import PreparedRequest
from service.testbed.connection import HttpConnection
from service.testbed.server_process import server_process

CONNECTIONS = 32
PEAK_DURATION_S = 4.0
STEADY_DURATION_S = 6.0
REBUILD_INTERVAL_S = 1.5
"""Time between two forced rebuilds of the snapshot."""


class UnexpectedStatus(Exception):
    """The API answered a poll with neither 200 nor 503."""


@asynccontextmanager
async def baseline_process(directory: Path) -> AsyncIterator[int]:
    """Run the baseline application behind the same HTTP server as the API; yield its port."""
    port = free_ports(1)[0]
    quiet = ("--no-access-log", "--log-level", "warning")
    command = (
        "-m",
        "uvicorn",
        "--factory",
        f"{create_baseline_app.__module__}:{create_baseline_app.__name__}",
        "--port",
        str(port),
        *quiet,
    )
    async with server_process(command, port, directory / "baseline.log", {}):
        yield port


async def peak_rate(port: int, requests: Sequence[PreparedRequest]) -> float:
    """Responses per second when each connection sends the next request as soon as it has a response."""
    responses, queue = 0, cycle(requests)
    end = time.perf_counter() + PEAK_DURATION_S

    async def send_repeatedly() -> None:
        nonlocal responses
        connection = await HttpConnection.open(port)
        while time.perf_counter() < end:
            # Await first, add later: `responses += await ...` would read the sum before the wait and lose counts.
            succeeded = await _send(connection, next(queue))
            responses += succeeded
        connection.close()

    await asyncio.gather(*(send_repeatedly() for _ in range(CONNECTIONS)))
    return responses / PEAK_DURATION_S


async def latency_p99_ms(port: int, requests: Sequence[PreparedRequest], per_second: float) -> float:
    """99th percentile of latency at a steady rate, milliseconds.

    Latency counts from when a request was due, so a slow response also delays the requests that wait for its
    connection (no coordinated omission).
    """
    started, latencies_s = time.perf_counter(), list[float]()
    numbers = iter(range(int(per_second * STEADY_DURATION_S)))

    async def send_when_due() -> None:
        connection = await HttpConnection.open(port)
        for number in numbers:
            due = started + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if await _send(connection, requests[number % len(requests)]):
                latencies_s.append(time.perf_counter() - due)
        connection.close()

    await asyncio.gather(*(send_when_due() for _ in range(CONNECTIONS)))
    return round(quantiles(latencies_s, n=100)[98] * 1000, 2)


async def latency_p99_ms_while_rebuilding(
    port: int, requests: Sequence[PreparedRequest], per_second: float, database_url: str
) -> float:
    """The same while the process rebuilds its snapshot again and again."""
    url = database_url.replace("+psycopg", "")

    async def force_rebuilds() -> None:
        while True:
            await asyncio.to_thread(_increment_epoch, url)
            await asyncio.sleep(REBUILD_INTERVAL_S)

    rebuilding = asyncio.create_task(force_rebuilds())
    try:
        return await latency_p99_ms(port, requests, per_second)
    finally:
        rebuilding.cancel()


def peak_memory_mb(pid: int) -> float:
    """Peak resident memory of a process so far, MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(kib / 1024, 1)


def _increment_epoch(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update serving_epoch set value = value + 1")


async def _send(connection: HttpConnection, request: PreparedRequest) -> bool:
    """Whether the response was 200; an overloaded server may answer 503."""
    status, body = await connection.send(request)
    if status not in {200, 503}:
        raise UnexpectedStatus(f"{status}: {body[:200].decode(errors='replace')}")
    return status == 200
