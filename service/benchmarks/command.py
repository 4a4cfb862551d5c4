"""`graylag bench poll | events`: run the cases, and print a table or JSON."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.benchmarks.cases import DEVICES_PER_BLOCK
from service.benchmarks.run import BenchmarkRun
from service.infrastructure.observability import configure_logging
from service.testbed.environment import temporary_servers

JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Rounds = Annotated[
    int, typer.Option(min=1, max=10, help="Measured blocks per case; the result is their median.")
]


def poll(
    as_json: JsonOption = False,
    rounds: Rounds = 5,
    big: Annotated[
        bool,
        typer.Option(help="Also measure with 1,000,000 devices, 200 rollouts and a list of 100,000 ids."),
    ] = True,
    over_sockets: Annotated[
        bool, typer.Option("--sockets/--no-sockets", help="Also load a `graylag api` process over loopback.")
    ] = True,
) -> None:
    """Measure the CPU time of polls relative to an empty handler, then rate and latency over sockets."""
    configure_logging("console", "warning")
    console = Console(stderr=True, highlight=False)
    with temporary_servers() as (directory, endpoints):
        result = asyncio.run(
            BenchmarkRun(directory, endpoints, console).poll(rounds, big=big, over_sockets=over_sockets)
        )
    _print_result(result, as_json=as_json)


def events(as_json: JsonOption = False, rounds: Rounds = 5) -> None:
    """Measure the CPU time of events, singly and in batches of 50, relative to polls."""
    configure_logging("console", "warning")
    console = Console(stderr=True, highlight=False)
    with temporary_servers() as (directory, endpoints):
        result = asyncio.run(BenchmarkRun(directory, endpoints, console).events(rounds))
    _print_result(result, as_json=as_json)


def _print_result(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table("", "CPU µs", "per second and core", title=f"blocks of {DEVICES_PER_BLOCK} requests")
    for name, value in result["cpu_us"].items():
        table.add_row(name, f"{value:,.1f}", f"{result['per_second'][name]:,}")
    console = Console()
    console.print(table)
    for section in ("ratios", "p99_ms", "rss_mb", "wrk_per_second"):
        if result.get(section):
            values = ", ".join(f"{name} {value}" for name, value in result[section].items())
            console.print(f"{section}: {values}")
    if "snapshot_rebuild_s" in result:
        console.print(f"snapshot rebuild: {result['snapshot_rebuild_s']} s")
