"""A real API process under real load: how fast it is at most, and how long polls take at half of that."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from statistics import quantiles

import psycopg

from service.cli.bench.asgi import Call
from service.cli.bench.stage import environment
from service.cli.bench.wire import Wire
from service.config import Settings
from service.embedded import free_ports

CONNECTIONS = 32
PEAK_S = 4.0
STEADY_S = 6.0
REBUILD_EVERY_S = 1.5


class Unexpected(Exception):
    """The API answered something else than a poll's answer or 'busy'."""


@asynccontextmanager
async def api_process(settings: Settings, directory: Path) -> AsyncIterator[tuple[int, int]]:
    """`graylag api` over a filled database; yields its process id and port, and ends it."""
    port = free_ports(1)[0]
    command = ("-m", "service.cli", "api", "--port", str(port))
    async with _served(command, port, directory / "api.log", environment(settings)) as pid:
        yield pid, port


@asynccontextmanager
async def empty_process(directory: Path) -> AsyncIterator[int]:
    """The empty handler behind the same HTTP server; yields its port, and ends it."""
    port = free_ports(1)[0]
    quiet = ("--no-access-log", "--log-level", "warning")
    command = ("-m", "uvicorn", "--factory", "service.api.empty:empty_app", "--port", str(port), *quiet)
    async with _served(command, port, directory / "empty.log", {}):
        yield port


@asynccontextmanager
async def _served(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]
) -> AsyncIterator[int]:
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env={**os.environ, **environment}, stdout=said, stderr=said
        )
    try:
        await _listening(port)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def peak(port: int, calls: Sequence[Call]) -> float:
    """Answers a second when every connection asks again at once."""
    done, queue = 0, cycle(calls)
    ends = time.perf_counter() + PEAK_S

    async def ask() -> None:
        nonlocal done
        wire = await Wire.open(port)
        while time.perf_counter() < ends:
            # In two steps: a sum is read before what it waits for, and the others' counts would be lost.
            answered = await _answered(wire, next(queue))
            done += answered
        wire.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return done / PEAK_S


async def p99_ms(port: int, calls: Sequence[Call], per_second: float) -> float:
    """99th percentile of the time from when a request was due to its answer, at a steady rate, milliseconds."""
    started, took = time.perf_counter(), list[float]()
    total = int(per_second * STEADY_S)
    due = iter(range(total))

    async def ask() -> None:
        wire = await Wire.open(port)
        for number in due:
            at = started + number / per_second
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            if await _answered(wire, calls[number % len(calls)]):
                # From when it was due: waiting for a slow answer before it counts, too.
                took.append(time.perf_counter() - at)
        wire.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return round(quantiles(took, n=100)[98] * 1000, 2)


async def while_rebuilding(port: int, calls: Sequence[Call], per_second: float, database_url: str) -> float:
    """The same while the process rebuilds its snapshot again and again."""
    url = database_url.replace("+psycopg", "")

    async def move() -> None:
        while True:
            await asyncio.to_thread(_move_epoch, url)
            await asyncio.sleep(REBUILD_EVERY_S)

    moving = asyncio.create_task(move())
    try:
        return await p99_ms(port, calls, per_second)
    finally:
        moving.cancel()


def rss_mb(pid: int) -> float:
    """The most memory that a process has held so far, MiB."""
    return _memory_mb(pid, "VmHWM:")


def rss_now_mb(pid: int) -> float:
    """The memory that a process holds now, MiB."""
    return _memory_mb(pid, "VmRSS:")


def _memory_mb(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))
    return round(kib / 1024, 1)


def _move_epoch(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update serving_epoch set value = value + 1")


async def _answered(wire: Wire, call: Call) -> bool:
    """Whether there was an answer; a server that is late may turn some away."""
    status, body = await wire.send(call)
    if status not in {200, 503}:
        raise Unexpected(f"{status}: {body[:200].decode(errors='replace')}")
    return status == 200


async def _listening(port: int) -> None:
    for _ in range(600):
        try:
            wire = await Wire.open(port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            wire.close()
            return
    raise Unexpected("the API process did not start")
