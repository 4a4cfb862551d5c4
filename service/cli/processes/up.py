"""`graylag up`: servers, API, workers and beat in one terminal."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.cli.processes.local_service import (
    RunningService,
    start_service,
    terminating_signals,
    wait_until_a_process_ends,
)
from service.infrastructure.embedded import Stack


def up(
    data: Annotated[Path, typer.Option(help="Directory for all data.")] = Path(".graylag"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 for a free one.")] = 8000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when the service is ready.")
    ] = False,
) -> None:
    """Run the whole service in one terminal, with PostgreSQL, Valkey and SeaweedFS from PyPI wheels.

    Ctrl-C stops everything; the data stays. For development: in production run each process by itself.
    """
    console = Console(stderr=True)
    with terminating_signals(), Stack(data, console.print) as stack:
        running = start_service(stack, port=port)
        if as_json:
            print(json.dumps(running.as_json()), flush=True)
        else:
            print_instructions(console, running)
        wait_until_a_process_ends(stack)


def shell_credentials(running: RunningService) -> list[str]:
    """Shell lines that let `graylag` use this service."""
    return [
        f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        f"  export GRAYLAG_URL={running.api_url} GRAYLAG_TOKEN={running.admin_token}",
    ]


def print_instructions(console: Console, running: RunningService) -> None:
    """Print what to type next; lines to copy are never wrapped."""
    lines = [
        "",
        f"  Graylag is ready at {running.api_url}  (API reference: {running.api_url}/docs)",
        "",
        "  In a second terminal:",
        "",
        *shell_credentials(running),
        "  graylag publish phone v1.0 --component weights=model.safetensors     # any file of yours",
        "  graylag cohort put everyone --rule '{}'",
        "  graylag rollout create --name first --model phone --version v1.0 --stage everyone:100",
        "  graylag rollout start first",
        "",
        f"  graylag-agent enroll --dir device --server {running.api_url} --trust {shlex.quote(str(running.trust_bundle))} \\",
        f"    --token {running.enrollment_token}",
        "  graylag-agent update --dir device",
        "",
        "  Ctrl-C stops everything; the data stays.",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
