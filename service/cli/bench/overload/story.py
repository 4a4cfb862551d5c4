"""The whole run for one shape: how fast, how it is under ten times that, how soon it is itself again."""

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

import psycopg

from service.cli.bench.overload.judge import judged
from service.cli.bench.overload.plan import Outcome, Phase, Plan, Shape, Stretch, Told
from service.cli.bench.overload.probes import Probes

PEAK_S, PEAKS = 2.0, 4
"""The best of some: what else the machine does makes it slower, never faster."""
CALM = 0.3
"""Share of the peak that comes before and after the overload."""


class GeneratorFailed(Exception):
    """The load generator ended without a result; the message has its last words."""


async def generate(plan: Plan) -> Told:
    """Carry out a plan in a process of its own.

    Raises:
        GeneratorFailed: there was no result.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service.cli.bench.overload.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await process.communicate(json.dumps(asdict(plan)).encode())
    if process.returncode:
        raise GeneratorFailed(complaint.decode(errors="replace")[-1000:])
    return Told.of(json.loads(said))


async def peak_of(pid: int, port: int, shape: Shape) -> Stretch:
    """The most that is answered with 2xx, in a closed loop of few connections: the best of some stretches."""
    phases = (Phase("warm", PEAK_S, None), *(Phase("peak", PEAK_S, None) for _ in range(PEAKS)))
    told = await generate(Plan(pid, port, shape, phases))
    return max(told.phases[1:], key=lambda one: one.per_second(Outcome.ANSWERED))


async def overload(
    *, pid: int, port: int, shape: Shape, times: float, seconds: float, database_url: str, token: str
) -> dict[str, Any]:
    """Peak, calm, overload, calm; what it came to, by name."""
    most = await peak_of(pid, port, shape)
    peak = most.per_second(Outcome.ANSWERED)
    phases = (
        Phase("before", max(4.0, seconds / 4), peak * CALM),
        Phase("overload", seconds, peak * times),
        Phase("after", max(10.0, seconds / 2), peak * CALM),
    )
    probes = Probes(pid, port, {"/health": "", "/ready": "", "/v1/admin/models": token})
    stored = events_in(database_url)
    looking = asyncio.create_task(probes.run())
    try:
        told = await generate(Plan(pid, port, shape, phases))
    finally:
        looking.cancel()
    stored = events_in(database_url) - stored
    return {
        "shape": str(shape),
        **judged(told, most, times),
        "rss_mb": {"before": probes.rss_mb[0], "most": max(probes.rss_mb), "after": probes.rss_mb[-1]},
        "probes": {path: look.told() for path, look in probes.looks.items()},
        "events": {"answered": told.accepted, "stored": stored, "lost": max(0, told.accepted - stored)},
    }


def events_in(database_url: str) -> int:
    """How many events the database has."""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        row = connection.execute("select count(*) from events").fetchone()
        return int(row[0]) if row else 0
