"""Approvals, rollback and deferred activation, as a release manager uses them."""

import json
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Up
from tests.waiting import wait_until

SIZE = 400_000


def weights(number: int) -> bytes:
    """The weights of a version; versions differ in 200 bytes."""
    data = bytearray(random.Random(5).randbytes(SIZE))
    data[number * 1000 : number * 1000 + 200] = bytes(200)
    return bytes(data)


@dataclass
class Releases:
    """Releases of one model, with the commands of a release manager, and its devices."""

    up: Up
    model: str
    folder: Path

    def publish(self, label: str, number: int) -> None:
        """Publish a version, as CI does."""
        path = self.folder / f"{self.model}-{label}.bin"
        path.write_bytes(weights(number))
        done = self.up.run("graylag", "publish", self.model, label, "--component", f"weights={path}")
        assert done.returncode == 0, done.stderr

    def enroll_device(self, name: str) -> Path:
        """Enroll a device without a version; return its directory."""
        directory = self.folder / f"{self.model}-{name}"
        self.up.enroll_device(directory, directory.name, "--model", self.model)
        return directory

    def create_rollout(self, name: str, version: str, **more: object) -> None:
        """Create a rollout to everyone from a file."""
        body: dict[str, object] = {"name": name, "model": self.model, "version": version}
        body["stages"] = [{"cohort": "everyone", "percent": 100, "advance_when": {"reports": 1}}]
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(body | more))
        done = self.up.run("graylag", "rollout", "create", "-f", path)
        assert done.returncode == 0, done.stderr

    def run_action(self, verb: str, name: str, *options: str, **environment: str) -> str:
        """Run `graylag rollout VERB`, which must succeed; return its output."""
        done = self.up.run("graylag", "rollout", verb, name, *options, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def expect_error(self, verb: str, name: str, *options: str, **environment: str) -> str:
        """Run `graylag rollout VERB`, which must fail; return its error message."""
        done = self.up.run("graylag", "rollout", verb, name, *options, **environment)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    def wait_for_state(self, name: str, state: str) -> dict[str, Any]:
        """Wait for a state of a rollout."""

        def rollout_in_state() -> dict[str, Any] | None:
            found: dict[str, Any] = self.up.api.call("GET", f"/v1/admin/rollouts/{name}")
            return found if found["state"] == state else None

        return wait_until(rollout_in_state, f"{name} to be {state}")


def update(up: Up, directory: Path) -> Any:
    """Let a device poll once, and install what it is offered; return the result."""
    return json.loads(up.run("graylag-agent", "update", "--dir", directory, "--json").stdout)


def downloaded_update(up: Up, directory: Path) -> Any:
    """Let a device poll once; return the result if it has downloaded something."""
    result = update(up, directory)
    return result if result["bytes_downloaded"] else None


def runs(up: Up, directory: Path, version: str) -> bool:
    """Let a device poll once; return whether it runs a version afterwards."""
    return bool(update(up, directory)["version"] == version)


@pytest.fixture(scope="module")
def everyone(up: Up) -> None:
    """The cohort of all devices."""
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})


def test_a_rollout_is_approved_by_another_person(up: Up, everyone, shared_dir):
    releases = Releases(up, "approved", shared_dir)
    releases.publish("v1", 1)
    people = {
        name: up.api.call("POST", "/v1/admin/tokens", {"name": name, "scope": "release-manager"})["token"]
        for name in ("ana", "bo")
    }
    ana, bo = ({"GRAYLAG_TOKEN": people[name]} for name in ("ana", "bo"))
    path = shared_dir / "approved.yaml"
    body = {"name": "approved-v1", "model": "approved", "version": "v1", "policy": {"approvals": 1}}
    path.write_text(json.dumps(body | {"stages": [{"cohort": "everyone", "percent": 100}]}))
    assert up.run("graylag", "rollout", "create", "-f", path, **ana).returncode == 0
    waiting = releases.run_action("start", "approved-v1", "--reason", "release 5.4", **ana)
    assert "awaiting_approval" in waiting
    assert "approval by 1 of 1 people other than ana" in waiting
    assert "[self_approval]" in releases.expect_error("approve", "approved-v1", **ana)
    assert "approved-v1 is running" in releases.run_action(
        "approve", "approved-v1", "--reason", "seen on my phone", **bo
    )
    assert "seen on my phone" in releases.run_action("status", "approved-v1")


def test_a_rollback_returns_a_device_to_its_previous_version_without_a_download(up: Up, everyone, shared_dir):
    releases = Releases(up, "back", shared_dir)
    for number in (1, 2):
        releases.publish(f"v{number}", number)
    device = releases.enroll_device("phone")
    releases.create_rollout("back-v1", "v1")
    releases.run_action("start", "back-v1")
    assert wait_until(lambda: update(up, device)["version"] == "v1", "the first version")
    releases.wait_for_state("back-v1", "completed")
    releases.create_rollout("back-v2", "v2", on_breach="rollback")
    first = releases.run_action("start", "back-v2", "--reason", "release 5.5")
    # A worker may have built the patches already.
    assert "back-v2 is running" in first or "rollback patches: v2 to v1 (weights)" in first
    releases.wait_for_state("back-v2", "running")
    assert wait_until(lambda: update(up, device)["version"] == "v2", "the second version")
    assert "[reason_required]" in releases.expect_error("rollback", "back-v2")
    assert "rolled_back" in releases.run_action("rollback", "back-v2", "--reason", "wrong answers")
    back = wait_until(lambda: (result := update(up, device))["version"] == "v1" and result, "the rollback")
    assert (back["status"], back["reason"], back["bytes_downloaded"]) == ("updated", "rollback", 0)
    assert "rollback: 1 offered, 1 committed" in releases.run_action("status", "back-v2")
    assert "[wrong_state]" in releases.expect_error("resume", "back-v2")


def test_deferred_activation_switches_all_devices_on_command(up: Up, everyone, shared_dir):
    releases = Releases(up, "deferred", shared_dir)
    releases.publish("v1", 1)
    devices = [releases.enroll_device(name) for name in ("one", "two")]
    releases.create_rollout("deferred-v1", "v1", policy={"activation": "deferred"})
    releases.run_action("start", "deferred-v1")
    for device in devices:
        staged = wait_until(partial(downloaded_update, up, device), "the download")
        assert (staged["status"], staged["reason"]) == ("waiting", "awaiting_activation")
        assert update(up, device)["bytes_downloaded"] == 0
        assert (
            json.loads(up.run("graylag-agent", "status", "--dir", device, "--json").stdout)["version"] is None
        )
    releases.run_action("activate", "deferred-v1", "--reason", "the keynote begins")
    for device in devices:
        assert wait_until(partial(runs, up, device, "v1"), "the switch")
    done = releases.wait_for_state("deferred-v1", "completed")
    assert done["stages"][0]["outcomes"]["committed"] >= 1
