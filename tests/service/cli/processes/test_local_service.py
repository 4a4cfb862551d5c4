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
def hangup() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminating_signal_ends_the_block_without_an_error(number: signal.Signals) -> None:
    passed = False
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with terminating_signals():
            signal.raise_signal(number)
            passed = True
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert not passed


def test_a_hangup_stays_ignored_under_nohup(hangup) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminating_signals():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
