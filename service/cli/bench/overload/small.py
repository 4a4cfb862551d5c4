"""A smaller server, openly: one core of its own, shared with a process that spins and weighs more at the scheduler."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.cli.bench.sockets import api_process
from service.config import Settings

NICE = {1.0: 0, 0.5: 0, 0.2: 6, 0.1: 10}
"""Niceness that leaves about so much of a core beside one process that spins: each step weighs a fifth less."""
_SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""
"""Ends by itself when whoever started it is gone."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where; empty sets where a process cannot be bound, or there is one core alone."""

    server: Collection[int]
    others: Collection[int]


def cores() -> Cores:
    """The last core for the server, all others for the generator and the databases."""
    mine = sorted(os.sched_getaffinity(0))
    return Cores({mine[-1]}, set(mine[:-1])) if len(mine) > 1 else Cores(set(), set())


@contextmanager
def bound(to: Collection[int]) -> Iterator[None]:
    """Run there, and so whatever is started meanwhile; nothing for an empty set."""
    before = os.sched_getaffinity(0)
    if to:
        os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def small_api(
    settings: Settings, directory: Path, share: float, where: Cores
) -> AsyncIterator[tuple[int, int]]:
    """`graylag api` with a share of one core; yields its process id and port, and ends it.

    Args:
        settings: of the API.
        directory: for its log.
        share: one of `NICE`.
        where: the cores.
    """
    async with AsyncExitStack() as ended:
        with bound(where.server):
            pid, port = await ended.enter_async_context(api_process(settings, directory))
        await ended.enter_async_context(_companion(pid, share, where))
        yield pid, port


@asynccontextmanager
async def _companion(pid: int, share: float, where: Cores) -> AsyncIterator[None]:
    if share == 1.0:
        yield
        return
    _make_nice(pid, NICE[share])
    with bound(where.server):
        spinning = await asyncio.create_subprocess_exec(sys.executable, "-c", _SPIN, str(os.getpid()))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            spinning.kill()
        await spinning.wait()


def _make_nice(pid: int, by: int) -> None:
    """Niceness belongs to threads; those to come inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), os.getpriority(os.PRIO_PROCESS, 0) + by)


class CpuClock:
    """How much of a core a process had."""

    def __init__(self, pid: int) -> None:
        """Start now."""
        self._stat = Path(f"/proc/{pid}/stat")
        self._began, self._had = time.perf_counter(), self._cpu_s()

    def share(self) -> float:
        """Since the start, or since last asked."""
        began, had = self._began, self._had
        self._began, self._had = time.perf_counter(), self._cpu_s()
        return round((self._had - had) / max(self._began - began, 1e-9), 2)

    def _cpu_s(self) -> float:
        fields = self._stat.read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
