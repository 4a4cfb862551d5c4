"""The embedded stack: children, locks, secrets and ports."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from service.infrastructure.embedded import EmbeddedError, Stack, free_ports, is_port_in_use
from tests.waiting import wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
IGNORES_SIGTERM = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = """
import sys, time
from pathlib import Path
from service.infrastructure.embedded import Stack
with Stack(Path(sys.argv[1])) as stack:
    print(stack.spawn("one", [sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
    time.sleep(600)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_children_end_with_the_block(open_dir):
    with Stack(open_dir) as stack:
        child = stack.spawn("one", SLEEP)
        assert alive(child.pid)
        assert stack.exited_child() is None
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_ignores_its_signal_is_killed(open_dir):
    with Stack(open_dir) as stack:
        child = stack.spawn("ignores", IGNORES_SIGTERM)
        wait_until(lambda: "up" in stack.tail("ignores"), "the child to ignore its signal")
    assert child.returncode == -signal.SIGKILL


def test_children_end_when_their_parent_is_killed(open_dir):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, open_dir], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(child), "the child to end")
    with Stack(open_dir) as stack:
        assert stack.exited_child() is None


def test_a_child_that_exits_is_reported_with_the_end_of_its_log(open_dir):
    with Stack(open_dir) as stack:
        stack.spawn("good", SLEEP)
        stack.spawn("bad", [sys.executable, "-c", "print('no license'); raise SystemExit(3)"])
        wait_until(lambda: stack.exited_child() == "bad", "the child to exit")
        assert stack.tail("bad") == "no license"
        with pytest.raises(EmbeddedError, match=r"bad did not start.*\n.*no license"):
            stack.wait_for("bad", lambda: False)


def test_a_stack_that_is_not_entered_starts_nothing(open_dir):
    with pytest.raises(EmbeddedError, match="not entered"):
        Stack(open_dir).spawn("one", SLEEP)


def test_secrets_are_created_once_and_only_their_owner_can_read_them(open_dir):
    with Stack(open_dir) as stack:
        created = stack._secrets()
        assert stack._secrets() == created
    assert len(set(created)) == 3
    assert (open_dir / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_port_is_in_use_while_a_process_listens_and_not_during_time_wait():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_port_in_use(port)
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0] as ours:
            ours.shutdown(socket.SHUT_RDWR)
    assert not is_port_in_use(port)


def test_free_ports_are_free_and_distinct():
    assert len(set(free_ports(8))) == 8


def test_free_ports_are_below_the_ephemeral_range():
    assert max(free_ports(200)) + 10_000 < 32768
