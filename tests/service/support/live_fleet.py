"""Reference clients against the real application on a real socket."""

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvicorn
from typer.testing import CliRunner

from sdk_contract.client import Agent
from sdk_contract.documents import TrustBundle
from sdk_contract.envelope import unverified_payload
from service.cli.platform.keys import app as keys_command
from service.main import create_app
from tests.service.conftest import LiveService
from tests.service.support import actors
from tests.waiting import PATIENCE_S, wait_until


def version_bytes(number):
    """Weights, of which each version changes some."""
    values = np.random.default_rng(7).integers(0, 256, 400_000, dtype=np.uint8)
    values[:: 50 + number] += 1
    return values.tobytes()


def random_weights(number):
    """Weights that differ from those of every other number, so no patch between them is small."""
    return np.random.default_rng(number).integers(0, 256, 100_000, dtype=np.uint8).tobytes()


@contextmanager
def listening(settings, port=0):
    """Run the real application on a socket, as one API process; yield the port."""
    frequent = settings.model_copy(update={"snapshot_interval_s": 0.05})
    server = uvicorn.Server(
        uvicorn.Config(create_app(frequent), log_config=None, access_log=False, timeout_graceful_shutdown=2)
    )
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started, "the server to start")
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive()


@dataclass
class Fleet:
    """A service with devices, and the directory in which its keys are changed."""

    live: LiveService
    port: int
    folder: Path

    def device(self, name):
        return Agent.enroll(
            self.folder / name,
            f"http://127.0.0.1:{self.port}",
            self.live.enrollment_token,
            self.live.trust,
            device_id=name,
        )

    def release(self, number):
        """Publish a version and roll it out to every device."""
        ready = actors.publish(self.live, f"v{number}", version_bytes(number))
        assert ready["state"] == "ready", ready
        actors.roll_out(self.live, f"to-v{number}", f"v{number}")

    def keys(self, verb, *words, roots):
        """Run a command of `graylag keys`, add the new trust bundle to the server, and return it."""
        options = [
            "--keys",
            self.folder,
            *(word for root in roots for word in ("--root", self.folder / root)),
        ]
        result = CliRunner().invoke(keys_command, [str(word) for word in (verb, *words, *options)])
        assert result.exception is None, result.exception
        assert "lacks" not in result.stdout
        newest = max(self.folder.glob("trust-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
        actors.ok(self.live.call("POST", "/v1/admin/trust", {"envelope": json.loads(newest.read_bytes())}))
        return TrustBundle.from_payload(unverified_payload(newest.read_bytes(), limit=TrustBundle.limit))


def update_when_offered(agent):
    """Poll until the device is updated; return the outcome of that update."""

    def outcome_of_update():
        outcome = agent.update()
        return outcome if outcome.status == "updated" else None

    return wait_until(outcome_of_update, "an update")


def updated(agent, label):
    """Poll until the device runs the version; return the outcome of the update."""
    outcomes = []

    def poll():
        outcomes.append(agent.update())
        assert outcomes[-1].ok or "unknown_model" in outcomes[-1].detail, outcomes[-1]
        return outcomes[-1].version == label

    wait_until(poll, f"the device to run {label}")
    return next(outcome for outcome in outcomes if outcome.status == "updated")
