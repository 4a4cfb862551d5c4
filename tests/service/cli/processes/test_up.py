import io
from pathlib import Path

from rich.console import Console

from service.cli.processes.local_service import RunningService
from service.cli.processes.up import print_instructions
from service.infrastructure.embedded import Endpoints


def test_lines_to_copy_are_never_wrapped() -> None:
    shown = io.StringIO()
    endpoints = Endpoints("postgresql://x", "redis://x", "http://x", "a", "s")
    running = RunningService(
        "http://127.0.0.1:8000", "gla_" + "x" * 43, "gle_" + "x" * 43, endpoints, Path("/a/trust.json")
    )
    print_instructions(Console(file=shown, width=40), running)
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert f"export GRAYLAG_URL={running.api_url} GRAYLAG_TOKEN={running.admin_token}" in lines
    enroll = f"graylag-agent enroll --dir device --server {running.api_url} --trust {running.trust_bundle} \\"
    assert enroll in lines
