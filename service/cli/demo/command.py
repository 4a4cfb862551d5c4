"""`graylag demo` itself: options, the stack around the story, and how it ends."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.cli.demo.story import Story
from service.cli.http import CliError
from service.cli.up import credentials, start_service, terminating_signals, watch
from service.embedded import Stack

DEFAULT_PLACE = Path(".graylag/demo")
PACE = {
    "GRAYLAG_POLL_INTERVAL_S": "1",
    "GRAYLAG_ROLLOUT_TICK_S": "1",
    "GRAYLAG_SNAPSHOT_CHECK_S": "0.3",
    "GRAYLAG_PATCH_WAIT_S": "60",
}
"""The demo lives faster than a real fleet."""


def demo(
    devices: Annotated[int, typer.Option(min=1, max=5000, help="How many devices to simulate.")] = 200,
    keep: Annotated[
        Path | None, typer.Option(help="Keep servers' data and devices in this directory.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the story is over, also on a terminal.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON; implies --exit.")
    ] = False,
) -> None:
    """Two versions of a model, a fleet and a staged rollout, on real servers, in about a minute.

    Ends with status 0 only if every device in a cohort runs verified bytes of the new version.
    """
    started = time.monotonic()
    console = Console(stderr=True, highlight=False)
    place = keep or DEFAULT_PLACE
    _require_ours(place)
    result = None
    with terminating_signals(), Stack(place, lambda text: console.print(f"· {text} ...")) as stack:
        stack.remove()
        running = start_service(stack, settings=PACE)
        story = Story.begin(running, stack.directory / "story", console, devices)
        result = story.tell(started)
        console.print(story.table(result))
        if as_json:
            print(json.dumps(result), flush=True)
        elif sys.stdout.isatty() and not leave:
            console.print(
                f"\nStill serving at {running.api_url} (docs at /docs). Ctrl-C ends it. To look around:"
            )
            # To copy: never broken into lines.
            console.print(
                "\n".join(credentials(running)) + "\n  graylag rollout list", markup=False, soft_wrap=True
            )
            watch(stack)
        if keep is None:
            stack.stop()
            stack.remove()
    if keep is None:
        shutil.rmtree(place, ignore_errors=True)
    if result is None or result["failed"]:
        raise typer.Exit(1)


def _require_ours(place: Path) -> None:
    """The demo starts from nothing, so it clears its directory; never one that somebody else filled."""
    if place.is_dir() and any(place.iterdir()) and not (place / "secrets.json").exists():
        raise CliError(f"{place} is not empty and not a graylag directory; choose another --keep")
