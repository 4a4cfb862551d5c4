import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.processes.local_service import start_service, terminating_signals
from service.infrastructure.embedded import EmbeddedError, Stack


def test_a_port_in_use_is_rejected_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Stack(tmp_path) as stack:
        with pytest.raises(EmbeddedError, match="is in use"):
            start_service(stack, port=other.getsockname()[1])
        assert not (tmp_path / "postgres").exists()


@pytest.fixture
def terminal_signals() -> Iterator[None]:
    """Signals as in a terminal, whatever the run of the tests was started with."""
    previous = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.usefixtures("terminal_signals")
def test_a_terminating_signal_ends_the_block_without_an_error(number: signal.Signals) -> None:
    passed = False
    with terminating_signals():
        signal.raise_signal(number)
        passed = True
    assert not passed


@pytest.mark.usefixtures("terminal_signals")
def test_a_hangup_stays_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminating_signals():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
