import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from service.cli.up import Running, start_service, welcome
from service.embedded import EmbeddedError, Endpoints, Stack


def test_a_port_on_which_somebody_else_listens_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Stack(tmp_path) as stack:
        with pytest.raises(EmbeddedError, match="is taken"):
            start_service(stack, port=other.getsockname()[1])
        assert not (tmp_path / "postgres").exists()


def test_what_is_there_to_be_copied_stands_on_lines_of_its_own_however_narrow_the_window() -> None:
    shown = io.StringIO()
    endpoints = Endpoints("postgresql://x", "redis://x", "http://x", "a", "s")
    running = Running(
        "http://127.0.0.1:8000", "gla_" + "x" * 43, "gle_" + "x" * 43, endpoints, Path("/a/trust.json")
    )
    welcome(Console(file=shown, width=40), running)
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert f"export GRAYLAG_URL={running.api_url} GRAYLAG_TOKEN={running.admin_token}" in lines
    assert f"graylag-agent enroll --dir device --server {running.api_url} --trust {running.trust} \\" in lines
