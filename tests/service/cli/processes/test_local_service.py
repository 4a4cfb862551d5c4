import socket
from pathlib import Path

import pytest

from service.cli.processes.local_service import start_service
from service.infrastructure.embedded import EmbeddedError, Stack


def test_a_port_in_use_is_rejected_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Stack(tmp_path) as stack:
        with pytest.raises(EmbeddedError, match="is in use"):
            start_service(stack, port=other.getsockname()[1])
        assert not (tmp_path / "postgres").exists()
