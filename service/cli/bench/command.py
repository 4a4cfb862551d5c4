"""The commands: run all cases in one process, print a table or JSON."""

import asyncio
import gc
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from service import database
from service.api.empty import empty_app
from service.cli.bench import cases, sockets, world, wrk
from service.cli.bench.cases import BLOCK, Case, batches, run_cases
from service.cli.bench.fleet import POLL, Handset, handset, poll_body, with_access_token
from service.cli.bench.stage import SECRET, filled, running, servers
from service.config import Settings
from service.embedded import Endpoints
from service.observability import configure_logging
from service.serving.snapshot import build
from service.tokens import AccessTokens, utc_now

DEVICES = 12_000
"""Devices that ask: enough for the rounds of a run, since a device is offered something new once."""
TOKENS = AccessTokens(SECRET.encode(), 3600)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]
Rounds = Annotated[int, typer.Option(min=1, max=10, help="Blocks of each case; the median counts.")]


def poll(
    as_json: AsJson = False,
    rounds: Rounds = 5,
    big: Annotated[
        bool, typer.Option(help="Also a million rows of devices, 200 rollouts and a list of 100,000 ids.")
    ] = True,
    over_sockets: Annotated[
        bool, typer.Option("--sockets/--no-sockets", help="Also `graylag api` under load over loopback.")
    ] = True,
) -> None:
    """What a poll costs: processor time in proportion to an empty handler, in one run; then over sockets."""
    configure_logging("console", "warning")
    console = Console(stderr=True, highlight=False)
    with servers() as (directory, endpoints):
        result = asyncio.run(_Bench(directory, endpoints, console).poll(rounds, big, over_sockets))
    _show(result, as_json)


def intake(as_json: AsJson = False, rounds: Rounds = 5) -> None:
    """What reports cost, one by one and in batches of 50, in proportion to polls, in one run."""
    configure_logging("console", "warning")
    console = Console(stderr=True, highlight=False)
    with servers() as (directory, endpoints):
        result = asyncio.run(_Bench(directory, endpoints, console).intake(rounds))
    _show(result, as_json)


class _Bench:
    """One run on servers of its own."""

    def __init__(self, directory: Path, endpoints: Endpoints, console: Console) -> None:
        self._directory = directory
        self._endpoints = endpoints
        self._console = console
        self._fleet = [handset(index) for index in range(DEVICES)]
        self._turns: Iterator[Sequence[Handset]] = batches(self._fleet)

    async def poll(self, rounds: int, big: bool, over_sockets: bool) -> dict[str, Any]:
        worlds = {"usual": world.USUAL} | ({"small": world.SMALL, "big": world.BIG} if big else {})
        async with AsyncExitStack() as stack:
            settings = {name: self._fill(name, scale) for name, scale in worlds.items()}
            apps = {name: await stack.enter_async_context(running(one)) for name, one in settings.items()}
            asked = [self._empty(), *self._polls(apps), *self._reports(apps["usual"])[1:]]
            await run_cases(asked, rounds, self._turns, self._say)
            result = _result(asked)
            if big:
                result["snapshot_rebuild_s"] = self._rebuild(settings["big"])
        if over_sockets:
            await self._over_sockets(settings["big" if big else "usual"], result)
        return result

    async def intake(self, rounds: int) -> dict[str, Any]:
        async with running(self._fill("usual", world.USUAL)) as app:
            asked = [self._empty(), self._polls({"usual": app})[0], *self._reports(app)]
            await run_cases(asked, rounds, self._turns, self._say)
            return _result(asked)

    def _fill(self, name: str, scale: world.Scale) -> Settings:
        self._say(f"filling the {name} world: {scale.devices:,} devices, {scale.rollouts} rollouts")
        return filled(self._endpoints, self._directory, scale, self._fleet)

    def _empty(self) -> Case:
        return Case("empty", empty_app(), cases.polls(world.QUIET, TOKENS), cases.answered)

    def _polls(self, apps: dict[str, Any]) -> list[Case]:
        quiet, usual = cases.polls(world.QUIET, TOKENS), apps["usual"]
        made = [
            Case("poll_access_jwt", usual, quiet, cases.no_update),
            Case("poll_device_key", usual, cases.signed_polls, cases.no_update),
            Case("offer", usual, cases.polls(world.BUSY, TOKENS), cases.an_offer),
        ]
        return made + [
            Case(name, apps[name], quiet, cases.no_update) for name in ("small", "big") if name in apps
        ]

    def _reports(self, app: Any) -> list[Case]:
        return [
            Case("events_1", app, cases.reports(1, TOKENS), cases.taken_in),
            Case("events_50", app, cases.reports(50, TOKENS), cases.taken_in, weight=50),
        ]

    def _rebuild(self, settings: Settings) -> float:
        engine = database.engine_for(settings.database_url)
        try:
            with database.read_only(engine) as session:
                session.execute(text("select 1"))
                started = time.perf_counter()
                build(session)
                return round(time.perf_counter() - started, 3)
        finally:
            engine.dispose()

    async def _over_sockets(self, settings: Settings, result: dict[str, Any]) -> None:
        now = utc_now()
        calls = [
            with_access_token(one, POLL, poll_body(one, world.QUIET, world.RUNNING), TOKENS, now)
            for one in self._fleet
        ]
        # This process only asks: its own pauses would be taken for the server's.
        gc.collect()
        gc.freeze()
        async with sockets.api_process(settings, self._directory) as (pid, port):
            self._say("over sockets: as fast as it goes")
            fastest = await sockets.peak(port, calls)
            self._say(f"over sockets: {fastest:.0f} polls a second; now at half of that")
            quiet = await sockets.p99_ms(port, calls, fastest / 2)
            self._say("the same while the snapshot is rebuilt")
            rebuilding = await sockets.while_rebuilding(port, calls, fastest / 2, settings.database_url)
            result["per_second"]["sockets"] = round(fastest)
            result["p99_ms"] = {"half_of_peak": quiet, "while_rebuilding": rebuilding}
            result["rss_mb"] = {"api": sockets.rss_mb(pid)}
            found = wrk.program()
            if found is not None:
                result["wrk_per_second"] = await self._by_wrk(found, port)

    async def _by_wrk(self, program: str, port: int) -> dict[str, int]:
        kinds = {
            "poll_access_jwt": cases.polls(world.QUIET, TOKENS),
            "poll_device_key": cases.signed_polls,
            "offer": cases.polls(world.BUSY, TOKENS),
            "events_1": cases.reports(1, TOKENS),
            "events_50": cases.many_reports(50, TOKENS),
        }
        found = {}
        async with sockets.empty_process(self._directory) as empty:
            for name, at, make in [
                ("empty", empty, kinds["poll_access_jwt"]),
                *((name, port, make) for name, make in kinds.items()),
            ]:
                self._say(f"by wrk: {name}")
                found[name] = round(await wrk.per_second(program, at, make(self._fleet), self._directory))
        return found

    def _say(self, what: str) -> None:
        self._console.print(f"· {what}")


def _result(asked: Sequence[Case]) -> dict[str, Any]:
    """Ratios of throughput, and what one processor could do in a second."""
    cost = {case.name: case.cpu_us() / case.weight for case in asked}
    ratios: dict[str, float] = {
        name: cost["empty"] / cost[name]
        for name in ("poll_access_jwt", "poll_device_key", "offer")
        if name in cost
    }
    ratios["events_50"] = cost["poll_access_jwt"] / cost["events_50"]
    if "big" in cost:
        ratios["big_over_small"] = cost["small"] / cost["big"]
    return {
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "per_second": {name: round(1e6 / value) for name, value in cost.items()},
        "cpu_us": {name: round(value, 1) for name, value in cost.items()},
        "p99_ms": {},
        "rss_mb": {},
    }


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table("", "µs of processor", "a second and core", title=f"blocks of {BLOCK} requests")
    for name, value in result["cpu_us"].items():
        table.add_row(name, f"{value:,.1f}", f"{result['per_second'][name]:,}")
    console = Console()
    console.print(table)
    for part in ("ratios", "p99_ms", "rss_mb", "wrk_per_second"):
        if result.get(part):
            console.print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in result[part].items()))
    if "snapshot_rebuild_s" in result:
        console.print(f"snapshot rebuild: {result['snapshot_rebuild_s']} s")
