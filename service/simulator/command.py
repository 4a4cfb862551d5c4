"""`graylag simulate`: options, and the two modes of a simulation."""

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

from service.cli.admin_api import URL_VARIABLE
from service.cli.errors import CliError
from service.infrastructure.observability import configure_logging
from service.simulator import over_http, virtual_clock
from service.simulator import scenario as scenarios
from service.simulator.devices import create_fleet
from service.simulator.engine import MEAN_POLL_FACTOR, Simulation
from service.simulator.in_process import in_process_server
from service.simulator.over_http import AcceleratedClock, HttpTransport
from service.simulator.progress import REFRESH_INTERVAL_S, Progress, result_table
from service.simulator.scenario import Scenario

MAX_DEVICES_OVER_HTTP = 20_000
"""Over HTTP every device enrolls first, which takes time."""
TOKEN_VARIABLE = "GRAYLAG_ENROLLMENT_TOKEN"  # noqa: S105 - a variable's name
EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C, by the convention of shells."""


def simulate(
    scenario: Annotated[
        str, typer.Option(help=f"YAML file, or a built-in scenario: {', '.join(scenarios.names())}.")
    ] = "gentle",
    devices: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of devices.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Polls per second, over HTTP only.")] = 50.0,
    seconds: Annotated[
        float, typer.Option(min=1, max=3000, help="Duration in seconds, over HTTP only.")
    ] = 60.0,
    url: Annotated[str | None, typer.Option(envvar=URL_VARIABLE, help="URL of the server.")] = None,
    enrollment_token: Annotated[
        str | None, typer.Option(envvar=TOKEN_VARIABLE, help="Enrollment token for the devices.")
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process", help="Run the application in this process, in virtual time, on temporary servers."
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Model that devices poll for. Default: the scenario's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same fleet.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON at the end.")] = False,
) -> None:
    """Simulate a fleet: devices poll, install and report as the scenario describes, without downloading anything.

    By default the devices enroll at a running server and poll it at a steady rate. With --in-process the command
    runs its own servers, and the hours of the scenario pass as fast as this machine can compute them. Ctrl-C ends
    either mode with the result so far.
    """
    configure_logging("console", "error")
    chosen, started = scenarios.load(scenario), time.monotonic()
    chosen = chosen.model_copy(update={"model": model}) if model else chosen
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    if in_process:
        result = asyncio.run(_run_in_process(chosen, devices, rng))
    else:
        transport = _transport(url, enrollment_token, devices)
        run = _run_over_http(
            chosen,
            devices,
            rate=rate,
            seconds=seconds,
            transport=transport,
            enrollment_token=enrollment_token or "",
            rng=rng,
        )
        result = asyncio.run(run)
    result |= {"seconds": round(time.monotonic() - started, 1), **_resource_usage()}
    _finish(result, as_json=as_json)


def _transport(url: str | None, enrollment_token: str | None, devices: int) -> HttpTransport:
    if not url or not enrollment_token:
        raise CliError(
            f"no server or no enrollment token is given; set {URL_VARIABLE} and {TOKEN_VARIABLE}, or use --in-process"
        )
    if devices > MAX_DEVICES_OVER_HTTP:
        raise CliError(
            f"--devices {devices} is too many over HTTP; use at most {MAX_DEVICES_OVER_HTTP}, or --in-process"
        )
    return HttpTransport(url)


def _finish(result: dict[str, Any], *, as_json: bool) -> None:
    """Print the result; exit with an error if the run was interrupted or something went wrong."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print(result_table(result))
    if result["interrupted"]:
        raise typer.Exit(EXIT_INTERRUPTED)
    exceeded = result["limits"]["exceeded"] if "limits" in result else []
    if result["problems"] or result["failed_requests"] or exceeded:
        raise typer.Exit(1)


async def _run_in_process(scenario: Scenario, count: int, rng: random.Random) -> dict[str, Any]:
    devices, duration_s = create_fleet(scenario, count, rng), scenario.hours * 3600
    with _stop_event() as stop:
        async with in_process_server(scenario, devices) as server:
            simulation = Simulation(scenario, devices, server, server.clock, rng)
            # The fleet lives until the end; without this each full garbage collection scans all of it.
            gc.collect()
            gc.freeze()
            with Progress(simulation.result, duration_s) as progress:
                tasks = [*server.periodic_tasks(), (0.0, progress.refresh)]
                await virtual_clock.run(simulation, server.clock, duration_s, tasks, stop=stop)
            return {
                **simulation.result(),
                **await server.rollout_result(),
                "interrupted": stop.is_set(),
            }


async def _run_over_http(
    scenario: Scenario,
    count: int,
    *,
    rate: float,
    seconds: float,
    transport: HttpTransport,
    enrollment_token: str,
    rng: random.Random,
) -> dict[str, Any]:
    # New ids in each run: devices of an earlier run have other keys.
    devices = create_fleet(scenario, count, rng, prefix=f"sim_{os.urandom(3).hex()}")
    with _stop_event() as stop:
        await over_http.enroll(transport, devices, enrollment_token, stop)
        transport.latencies_s.clear()
        speed = max(1e-3, scenario.poll_interval_s * MEAN_POLL_FACTOR * rate / count)
        simulation = Simulation(
            scenario,
            devices,
            transport,
            AcceleratedClock(speed),
            rng,
            poll_interval_s=scenario.poll_interval_s,
        )
        started = time.monotonic()
        with Progress(simulation.result, seconds * speed) as progress:
            refreshing = asyncio.create_task(_refresh_repeatedly(progress))
            try:
                await over_http.run(simulation, rate, seconds, stop)
            finally:
                refreshing.cancel()
                transport.close()
        elapsed_s = max(1e-9, time.monotonic() - started)
        return {
            **simulation.result(),
            "polls_per_s": round(simulation.statistics.polls / elapsed_s, 1),
            "p99_ms": _p99_ms(list(transport.latencies_s)),
            "interrupted": stop.is_set(),
        }


def _p99_ms(latencies_s: list[float]) -> float:
    return round(quantiles(latencies_s, n=100)[98] * 1000, 2) if len(latencies_s) > 1 else 0.0


async def _refresh_repeatedly(progress: Progress) -> None:
    while True:
        await asyncio.sleep(REFRESH_INTERVAL_S)
        await progress.refresh()


@contextmanager
def _stop_event() -> Iterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process as usual."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def request_stop() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, request_stop)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _resource_usage() -> dict[str, float]:
    """CPU time and peak memory of this process, without its servers."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss is in bytes on macOS and in KiB elsewhere.
    peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"cpu_s": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": round(peak_mb)}
