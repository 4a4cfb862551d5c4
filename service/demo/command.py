"""`graylag demo`: options, and the service around the walkthrough."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.cli.errors import CliError
from service.cli.processes.local_service import (
    RunningService,
    start_service,
    terminating_signals,
    wait_until_a_process_ends,
)
from service.cli.processes.up import shell_credentials
from service.demo.walkthrough import Walkthrough
from service.infrastructure.embedded import Stack

DEFAULT_DIRECTORY = Path(".graylag/demo")
FAST_SETTINGS = {
    "GRAYLAG_POLL_INTERVAL_S": "1",
    "GRAYLAG_GATE_INTERVAL_S": "1",
    "GRAYLAG_SNAPSHOT_INTERVAL_S": "0.3",
    "GRAYLAG_PATCH_WAIT_S": "60",
}
"""Intervals of seconds, so that the demo takes a minute; a real fleet uses hours."""


def demo(
    devices: Annotated[int, typer.Option(min=1, max=5000, help="Number of simulated devices.")] = 200,
    keep: Annotated[
        Path | None, typer.Option(help="Directory for data and devices; it is kept at the end.")
    ] = None,
    exit_at_end: Annotated[
        bool, typer.Option("--exit", help="Exit when the demo is done, also on a terminal.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON at the end; implies --exit.")
    ] = False,
) -> None:
    """Train, publish and roll out two versions of a model to simulated devices, in about a minute.

    It runs on real servers. Exits with status 0 only if every device in a cohort runs verified bytes of the new
    version.
    """
    started = time.monotonic()
    console = Console(stderr=True, highlight=False)
    directory = keep or DEFAULT_DIRECTORY
    _require_own_directory(directory)
    result = None
    with terminating_signals(), Stack(directory, lambda text: console.print(f"· {text} ...")) as stack:
        stack.remove()
        running = start_service(stack, settings=FAST_SETTINGS)
        walkthrough = Walkthrough.create(running, stack.directory / "work", console, devices)
        result = walkthrough.run(started)
        console.print(walkthrough.table(result))
        if as_json:
            print(json.dumps(result), flush=True)
        elif sys.stdout.isatty() and not exit_at_end:
            _print_instructions(console, running)
            wait_until_a_process_ends(stack)
        if keep is None:
            stack.stop()
            stack.remove()
    if keep is None:
        shutil.rmtree(directory, ignore_errors=True)
    if result is None or result["failed"]:
        raise typer.Exit(1)


def _print_instructions(console: Console, running: RunningService) -> None:
    console.print(
        f"\nThe service keeps running at {running.api_url} (API reference: {running.api_url}/docs) until Ctrl-C. "
        "To explore it:"
    )
    lines = [*shell_credentials(running), "  graylag rollout list"]
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _require_own_directory(directory: Path) -> None:
    """Refuse a directory with other files: the demo deletes everything in its directory when it starts."""
    is_own = (directory / "secrets.json").exists()
    if directory.is_dir() and any(directory.iterdir()) and not is_own:
        raise CliError(
            f"{directory} is not empty and was not created by graylag; choose an empty directory with --keep"
        )
