"""`graylag simulate`: options, and the two ways to run a fleet."""

import asyncio
import gc
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import Annotated, Any

import typer
from rich.console import Console

from service.cli.http import URL_VARIABLE, CliError
from service.cli.simulate import remote, stepping
from service.cli.simulate import scenario as scenarios
from service.cli.simulate.devices import fleet
from service.cli.simulate.engine import MEAN_PATIENCE, Simulation
from service.cli.simulate.inside import inside
from service.cli.simulate.progress import Progress, table
from service.observability import configure_logging

MAX_REMOTE = 20_000
"""Devices of a simulation over HTTP: each has to enrol first."""
SHOW_EVERY_S = 0.25
TOKEN_VARIABLE = "GRAYLAG_ENROLMENT_TOKEN"  # noqa: S105 - a variable's name
INTERRUPTED = 130
"""Status of a command that was ended by Ctrl-C, as shells have it."""


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
    model: Annotated[
        str | None, typer.Option(help="What the devices ask for, in place of the scenario's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same fleet.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    """A virtual fleet polls, downloads nothing, and reports as its scenario says.

    Over HTTP it enrols its devices at a running server and drives it at a steady rate. With --in-process it brings
    its own servers and lets the hours of the scenario pass as fast as this machine can. Ctrl-C ends either with
    the result so far.
    """
    configure_logging("console", "error")
    wanted, began = scenarios.load(scenario), time.monotonic()
    wanted = wanted.model_copy(update={"model": model}) if model else wanted
    rng = random.Random(seed)  # noqa: S311 - the same fleet again
    if in_process:
        result = asyncio.run(_inside(wanted, devices, rng))
    else:
        if not url or not enrolment_token:
            raise CliError(f"set {URL_VARIABLE} and {TOKEN_VARIABLE}, or use --in-process")
        if devices > MAX_REMOTE:
            raise CliError(f"at most {MAX_REMOTE} devices over HTTP; --in-process takes more")
        line = remote.HttpLine(url)
        result = asyncio.run(_remote(wanted, devices, rate, seconds, line, enrolment_token, rng))
    result |= {"seconds": round(time.monotonic() - began, 1), **_spent()}
    _tell(result, as_json)


def _tell(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print(table(result))
    if result["interrupted"]:
        raise typer.Exit(INTERRUPTED)
    broken = result["bounds"]["exceeded"] if "bounds" in result else []
    if result["faults"] or result["unreachable"] or broken:
        raise typer.Exit(1)


async def _inside(wanted: scenarios.Scenario, count: int, rng: random.Random) -> dict[str, Any]:
    devices, until_s = fleet(wanted, count, rng), wanted.hours * 3600
    with _stoppable() as stop:
        async with inside(wanted, devices) as place:
            running = Simulation(wanted, devices, place, place.time, rng)
            # The fleet stays: the collector need not walk through all of it again and again.
            gc.collect()
            gc.freeze()
            with Progress(running.result, until_s) as shown:
                looks = [*place.looks(), (0.0, shown.look)]
                await stepping.run(running, place.time, until_s, looks, stop=stop)
            return {**running.result(), **await place.findings(), "interrupted": stop.is_set()}


async def _remote(
    wanted: scenarios.Scenario,
    count: int,
    rate: float,
    seconds: float,
    line: remote.HttpLine,
    enrolment_token: str,
    rng: random.Random,
) -> dict[str, Any]:
    # Ids of this run's own, so that a fleet of an earlier one with other keys is not in the way.
    devices = fleet(wanted, count, rng, prefix=f"sim_{os.urandom(3).hex()}")
    with _stoppable() as stop:
        await remote.enrol(line, devices, enrolment_token, stop)
        line.seconds.clear()
        speed = max(1e-3, wanted.poll_s * MEAN_PATIENCE * rate / count)
        running = Simulation(wanted, devices, line, remote.RealTime(speed), rng, pause_s=wanted.poll_s)
        began = time.monotonic()
        with Progress(running.result, seconds * speed) as shown:
            showing = asyncio.create_task(_again_and_again(shown))
            try:
                await remote.run(running, rate, seconds, stop)
            finally:
                showing.cancel()
                line.close()
        taken = max(1e-9, time.monotonic() - began)
        p99 = round(quantiles(line.seconds, n=100)[98] * 1000, 2) if len(line.seconds) > 1 else 0.0
        driven = {"polls_per_s": round(running.tally.polls / taken, 1), "p99_ms": p99}
        return {**running.result(), **driven, "interrupted": stop.is_set()}


async def _again_and_again(shown: Progress) -> None:
    while True:
        await asyncio.sleep(SHOW_EVERY_S)
        await shown.look()


@contextmanager
def _stoppable() -> Iterator[asyncio.Event]:
    """Set by the first Ctrl-C, or SIGTERM; a second one ends the process as it usually does."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _spent() -> dict[str, float]:
    """Processor time and the most memory of this process; its servers are not in it."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    # Bytes on macOS, KiB elsewhere.
    peak = spent.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"cpu_s": round(spent.ru_utime + spent.ru_stime, 1), "peak_mb": round(peak)}
