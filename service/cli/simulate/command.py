"""`graylag simulate`: options, progress and the result."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Annotated, Any, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from service.cli.http import URL_VARIABLE, CliError
from service.cli.simulate import scenario as scenarios
from service.cli.simulate.devices import fleet
from service.cli.simulate.engine import Simulation
from service.cli.simulate.inside import inside
from service.cli.simulate.remote import HttpLine, RealTime, enrol
from service.observability import configure_logging

MAX_REMOTE = 20_000
"""Devices of a simulation over HTTP: each has to enrol first."""
SHOW_EVERY = 60.0
TOKEN_VARIABLE = "GRAYLAG_ENROLMENT_TOKEN"  # noqa: S105 - a variable's name


def simulate(
    scenario: Annotated[
        str, typer.Option(help=f"A YAML file, or one of: {', '.join(scenarios.names())}.")
    ] = "gentle",
    devices: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Polls a second, over HTTP.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=1, max=3000, help="How long, over HTTP.")] = 60.0,
    url: Annotated[str | None, typer.Option(envvar=URL_VARIABLE, help="The server.")] = None,
    enrolment_token: Annotated[
        str | None, typer.Option(envvar=TOKEN_VARIABLE, help="Lets the devices in.")
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option("--in-process", help="No server: the application in this process, in simulated time."),
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed, the same fleet.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    """A virtual fleet polls, downloads nothing, and reports as its scenario says.

    Over HTTP it enrols its devices at a running server and drives it at a steady rate. With --in-process it brings
    its own servers and lets the hours of the scenario pass as fast as this machine can.
    """
    configure_logging("console", "error")
    wanted, began = scenarios.load(scenario), time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - the same fleet again
    if in_process:
        result = asyncio.run(_inside(wanted, devices, rng))
    else:
        if not url or not enrolment_token:
            raise CliError(f"set {URL_VARIABLE} and {TOKEN_VARIABLE}, or use --in-process")
        if devices > MAX_REMOTE:
            raise CliError(f"at most {MAX_REMOTE} devices over HTTP; --in-process takes more")
        result = asyncio.run(_remote(wanted, devices, rate, seconds, HttpLine(url), enrolment_token, rng))
    result["seconds"] = round(time.monotonic() - began, 1)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print(_table(result))
    if result["faults"]:
        raise typer.Exit(1)


async def _inside(wanted: scenarios.Scenario, count: int, rng: random.Random) -> dict[str, Any]:
    devices = fleet(wanted, count, rng)
    async with inside(wanted, devices) as place:
        running = Simulation(wanted, devices, place, place.time, rng)
        with _shown(running, wanted.hours * 3600) as show:
            await running.run(wanted.hours * 3600, [*place.looks(), (SHOW_EVERY, show.look)])
        return {**running.result(), "rollout": await place.state()}


async def _remote(
    wanted: scenarios.Scenario,
    count: int,
    rate: float,
    seconds: float,
    line: HttpLine,
    enrolment_token: str,
    rng: random.Random,
) -> dict[str, Any]:
    # Ids of this run's own, so that a fleet of an earlier one with other keys is not in the way.
    devices = fleet(wanted, count, rng, prefix=f"sim_{os.urandom(3).hex()}")
    await enrol(line, devices, enrolment_token)
    line.seconds.clear()
    speed = max(1e-3, wanted.poll_s * rate / count)
    running = Simulation(wanted, devices, line, RealTime(speed), rng, pause_s=wanted.poll_s)
    try:
        with _shown(running, seconds * speed) as show:
            await running.run(seconds * speed, [(0.5 * speed, show.look)])
    finally:
        line.close()
    p99 = round(quantiles(line.seconds, n=100)[98] * 1000, 2) if len(line.seconds) > 1 else 0.0
    return {**running.result(), "polls_per_s": round(running.tally.polls / seconds, 1), "p99_ms": p99}


class _shown:  # noqa: N801 - used as a function
    """A bar and a table on standard error while it lasts; nothing where that is no terminal."""

    def __init__(self, running: Simulation, until_s: float) -> None:
        self._running, self._until_s = running, until_s
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self.look: Callable[[], Awaitable[None]] = self._look

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    async def _look(self) -> None:
        result = self._running.result()
        done = min(1.0, result["simulated_hours"] * 3600 / self._until_s)
        if sys.stderr.isatty():
            self._live.update(Group(ProgressBar(total=1.0, completed=done), _table(result)))


def _table(result: dict[str, Any]) -> Table:
    table = Table(show_header=False, title=f"{result['devices']:,} devices", title_justify="left")
    for name, value in result.items():
        shown = (
            ", ".join(f"{key} {count:,}" for key, count in value.items())
            if isinstance(value, dict)
            else value
        )
        table.add_row(name.replace("_", " "), f"{shown:,}" if isinstance(shown, int) else str(shown))
    return table
