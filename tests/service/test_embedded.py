import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from service.embedded import EmbeddedError, Stack, free_ports, is_taken

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = """
import sys, time
from pathlib import Path
from service.embedded import Stack
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


def wait_until(condition):
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_children_end_with_the_block(open_dir):
    with Stack(open_dir) as stack:
        child = stack.spawn("one", SLEEP)
        assert alive(child.pid)
        assert stack.dead() is None
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_will_not_go_is_made_to(open_dir):
    with Stack(open_dir) as stack:
        child = stack.spawn("stubborn", STUBBORN)
        assert wait_until(lambda: "up" in stack.tail("stubborn"))
    assert child.returncode == -signal.SIGKILL


def test_children_end_with_a_parent_that_was_killed(open_dir):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, open_dir], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not alive(child))
    with Stack(open_dir) as stack:
        assert stack.dead() is None


def test_a_child_that_ends_by_itself_is_named_with_its_last_words(open_dir):
    with Stack(open_dir) as stack:
        stack.spawn("good", SLEEP)
        stack.spawn("bad", [sys.executable, "-c", "print('no licence'); raise SystemExit(3)"])
        assert wait_until(lambda: stack.dead() == "bad")
        assert stack.tail("bad") == "no licence"
        with pytest.raises(EmbeddedError, match=r"bad did not start.*\n.*no licence"):
            stack.wait_for("bad", lambda: False)


def test_a_stack_that_is_not_open_starts_nothing(open_dir):
    with pytest.raises(EmbeddedError):
        Stack(open_dir).spawn("one", SLEEP)


def test_secrets_are_made_once_and_only_their_owner_can_read_them(open_dir):
    with Stack(open_dir) as stack:
        made = stack._secrets()
        assert stack._secrets() == made
    assert len(set(made)) == 3
    assert (open_dir / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_port_is_taken_while_somebody_listens_and_not_by_connections_that_have_ended():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_taken(port)
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0] as ours:
            ours.shutdown(socket.SHUT_RDWR)
    assert not is_taken(port)


def test_ports_are_free_and_never_the_same_twice():
    assert len(set(free_ports(8))) == 8


def test_ports_are_none_that_a_connection_may_be_given_at_any_moment():
    assert max(free_ports(200)) + 10_000 < 32768
