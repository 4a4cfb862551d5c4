"""Every key is replaced while devices poll; the one that slept through it all is not left behind."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import uvicorn
from typer.testing import CliRunner

from sdk_contract.client import Agent
from sdk_contract.documents import TrustBundle
from service import signing
from service.cli.keys import app as keys_command
from service.main import create_app
from tests.service import actors

PATIENCE_S = 30


def version_bytes(number):
    """Weights of which each version changes some."""
    values = np.random.default_rng(7).integers(0, 256, 400_000, dtype=np.uint8)
    values[:: 50 + number] += 1
    return values.tobytes()


@contextmanager
def listening(settings, port=0):
    """The real application behind a real socket, as one API process."""
    eager = settings.model_copy(update={"snapshot_check_s": 0.05})
    server = uvicorn.Server(
        uvicorn.Config(create_app(eager), log_config=None, access_log=False, timeout_graceful_shutdown=2)
    )
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive()


@dataclass
class Fleet:
    """A service that devices reach, and the directory in which its keys are changed."""

    live: object
    port: int
    folder: object

    def device(self, name):
        return Agent.enroll(
            self.folder / name,
            f"http://127.0.0.1:{self.port}",
            self.live.enrolment_token,
            self.live.trust,
            device_id=name,
        )

    def release(self, number):
        """A version that everybody is offered; the process that devices reach sees it within its period."""
        ready = actors.publish(self.live, f"v{number}", version_bytes(number))
        assert ready["state"] == "ready", ready
        actors.roll_out(self.live, f"to-v{number}", f"v{number}")

    def keys(self, verb, *words, roots):
        """A command of the key ceremony, and the bundle that comes out of it in the server's hands."""
        options = [
            "--keys",
            self.folder,
            *(word for root in roots for word in ("--root", self.folder / root)),
        ]
        done = CliRunner().invoke(keys_command, [str(word) for word in (verb, *words, *options)])
        assert done.exception is None, done.exception
        assert "lacks" not in done.stdout
        newest = max(self.folder.glob("trust-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
        actors.ok(self.live.call("POST", "/v1/admin/trust", {"envelope": json.loads(newest.read_bytes())}))
        return TrustBundle.from_payload(signing.peek(newest.read_bytes(), limit=TrustBundle.limit))


@pytest.fixture
def fleet(live, tmp_path):
    with listening(live.settings) as port:
        made = Fleet(live, port, tmp_path)
        actors.refresh(live)
        yield made


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S} s")


def updated(agent, label):
    """Poll until the process has seen what was released, and the device runs it."""
    outcomes = []

    def ask():
        outcomes.append(agent.update())
        assert outcomes[-1].ok or "unknown_model" in outcomes[-1].detail, outcomes[-1]
        return outcomes[-1].version == label

    until(ask)
    return next(outcome for outcome in outcomes if outcome.status == "updated")


def trust_version(agent):
    return agent.status()["trust_version"]


def old_key(live, role):
    return next(iter(TrustBundle.open_first(live.trust).for_role(role).keys))


@contextmanager
def signing_with_the_new(fleet, role):
    """Workers and API processes get the new key, the old process goes, as in a rolling restart."""
    changed = fleet.live.settings.model_copy(update={f"{role}_key": f"file:{fleet.folder}/{role}-v2.pem"})
    with fleet.live.worker_with(settings=changed):
        yield changed


@pytest.mark.parametrize("role", ["publisher", "patcher", "director"])
def test_a_key_is_replaced_and_no_device_is_left_behind(live, tmp_path, role):
    with listening(live.settings) as port:
        fleet = Fleet(live, port, tmp_path)
        fleet.release(1)
        awake, asleep = fleet.device("awake"), fleet.device("asleep")
        updated(awake, "v1")
        updated(asleep, "v1")
        fleet.keys("rotate", role, roots=["root.pem"])
        until(lambda: awake.update().ok and trust_version(awake) == 2)
    with signing_with_the_new(fleet, role) as changed, listening(changed, port):
        fleet.release(2)
        assert updated(awake, "v2").way == "glp1"
        fleet.keys("drop", role, old_key(live, role), roots=["root.pem"])
        until(lambda: awake.update().ok and trust_version(awake) == 3)
        assert trust_version(asleep) == 1
        assert updated(asleep, "v2").way == "glp1"
        assert trust_version(asleep) == 3


def test_the_root_itself_is_replaced_and_no_device_is_left_behind(fleet, live):
    fleet.release(1)
    awake, asleep = fleet.device("awake"), fleet.device("asleep")
    updated(awake, "v1")
    updated(asleep, "v1")
    fleet.keys("rotate", "root", roots=["root.pem"])
    until(lambda: awake.update().ok and trust_version(awake) == 2)
    fleet.keys("drop", "root", old_key(live, "root"), roots=["root.pem", "root-v2.pem"])
    last = fleet.keys("renew", roots=["root-v2.pem"])
    fleet.release(2)
    updated(awake, "v2")
    updated(asleep, "v2")
    assert trust_version(awake) == trust_version(asleep) == last.version == 4


def test_a_device_that_has_not_heard_of_the_new_key_walks_the_chain_before_it_judges(fleet, live, tmp_path):
    fleet.release(1)
    device = fleet.device("late")
    fleet.keys("rotate", "director", roots=["root.pem"])
    fleet.keys("drop", "director", old_key(live, "director"), roots=["root.pem"])
    with signing_with_the_new(fleet, "director") as changed, listening(changed) as port:
        late = Fleet(live, port, tmp_path / "elsewhere").device("later")
        assert trust_version(late) == trust_version(device) == 1
        assert updated(late, "v1").version == "v1"
        assert trust_version(late) == 3


def test_what_only_a_dropped_key_vouches_for_is_refused_by_name(fleet, live):
    fleet.release(1)
    device = fleet.device("strict")
    fleet.keys("rotate", "director", roots=["root.pem"])
    fleet.keys("drop", "director", old_key(live, "director"), roots=["root.pem"])
    until(lambda: device.update().code == "unknown_key")
    assert device.installed() is None or device.installed().version == "v1"
