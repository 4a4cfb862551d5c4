"""Three stories of a careful release manager: a second pair of eyes, a way back, and one moment for all."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.conftest import Up, wait_until

SIZE = 400_000


def weights(number: int) -> bytes:
    """Versions of one fine-tune."""
    data = bytearray(random.Random(5).randbytes(SIZE))
    data[number * 1000 : number * 1000 + 200] = bytes(200)
    return bytes(data)


@dataclass
class Line:
    """One model with versions, and devices that follow it."""

    up: Up
    model: str
    folder: Path

    def publish(self, label: str, number: int) -> None:
        """From CI."""
        path = self.folder / f"{self.model}-{label}.bin"
        path.write_bytes(weights(number))
        done = self.up.run("graylag", "publish", self.model, label, "--component", f"weights={path}")
        assert done.returncode == 0, done.stderr

    def device(self, name: str) -> Path:
        """A device that has enrolled and runs nothing yet."""
        directory, facts = self.folder / f"{self.model}-{name}", self.up.facts
        done = self.up.run(
            *("graylag-agent", "enroll", "--dir", directory, "--server", facts["api_url"]),
            *("--model", self.model, "--token", facts["enrolment_token"]),
            *("--trust", facts["trust_bundle"], "--device-id", f"{self.model}-{name}"),
        )
        assert done.returncode == 0, done.stderr
        return directory

    def write_down(self, name: str, version: str, **more: object) -> None:
        """A rollout to everyone, from a file."""
        body = {"name": name, "model": self.model, "version": version}
        body["stages"] = [{"cohort": "everyone", "percent": 100, "hold": {"reports": 1}}]
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(body | more))
        done = self.up.run("graylag", "rollout", "create", "-f", path)
        assert done.returncode == 0, done.stderr

    def say(self, verb: str, name: str, *options: str, **environment: str) -> str:
        """One verb of the release manager's, which must do."""
        done = self.up.run("graylag", "rollout", verb, name, *options, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, verb: str, name: str, *options: str, **environment: str) -> str:
        """One that must not; what the person reads."""
        done = self.up.run("graylag", "rollout", verb, name, *options, **environment)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    def until(self, name: str, state: str) -> dict:
        """Wait for a state."""

        def there() -> dict | None:
            found = self.up.api.call("GET", f"/v1/admin/rollouts/{name}")
            return found if found["state"] == state else None

        return wait_until(there, f"{name} to be {state}")


def update(up: Up, directory: Path) -> dict:
    """What came of one poll."""
    return json.loads(up.run("graylag-agent", "update", "--dir", directory, "--json").stdout)


@pytest.fixture(scope="module")
def everyone(up: Up) -> None:
    """The cohort of all."""
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})


def test_a_second_pair_of_eyes(up: Up, everyone, shared_dir):
    """Ana wrote it, so Ana cannot approve it; Bo can, and that starts it."""
    line = Line(up, "eyes", shared_dir)
    line.publish("v1", 1)
    people = {
        name: up.api.call("POST", "/v1/admin/tokens", {"name": name, "scope": "release-manager"})["token"]
        for name in ("ana", "bo")
    }
    ana, bo = ({"GRAYLAG_TOKEN": people[name]} for name in ("ana", "bo"))
    path = shared_dir / "eyes.yaml"
    body = {"name": "eyes-v1", "model": "eyes", "version": "v1", "policy": {"approvals": 1}}
    path.write_text(json.dumps(body | {"stages": [{"cohort": "everyone", "percent": 100}]}))
    assert up.run("graylag", "rollout", "create", "-f", path, **ana).returncode == 0
    waiting = line.say("start", "eyes-v1", "--reason", "release 5.4", **ana)
    assert "awaiting_approval" in waiting
    assert "approval by 1 of 1 people other than ana" in waiting
    assert "[own_approval]" in line.refused("approve", "eyes-v1", **ana)
    assert "eyes-v1 is running" in line.say("approve", "eyes-v1", "--reason", "seen on my phone", **bo)
    assert "seen on my phone" in line.say("status", "eyes-v1")


def test_a_rollback(up: Up, everyone, shared_dir):
    """The way back is made before anybody needs it; then one command brings a device back, without a byte."""
    line = Line(up, "back", shared_dir)
    for number in (1, 2):
        line.publish(f"v{number}", number)
    device = line.device("phone")
    line.write_down("back-v1", "v1")
    line.say("start", "back-v1")
    assert wait_until(lambda: update(up, device)["version"] == "v1", "the first version")
    line.until("back-v1", "completed")
    line.write_down("back-v2", "v2", on_breach="rollback")
    first = line.say("start", "back-v2", "--reason", "release 5.5")
    assert "patches back: v2 to v1 (weights)" in first or "running" in first
    line.until("back-v2", "running")
    assert wait_until(lambda: update(up, device)["version"] == "v2", "the second version")
    assert "[reason_required]" in line.refused("rollback", "back-v2")
    assert "rolled_back" in line.say("rollback", "back-v2", "--reason", "it answers in rhymes")
    back = wait_until(lambda: (told := update(up, device))["version"] == "v1" and told, "the way back")
    assert (back["status"], back["reason"], back["bytes_downloaded"]) == ("updated", "rollback", 0)
    assert "brought back: 1 offered, 1 committed" in line.say("status", "back-v2")
    assert "[wrong_state]" in line.refused("resume", "back-v2")


def test_one_moment_for_all(up: Up, everyone, shared_dir):
    """Two devices download ahead; neither switches before the word, also not when it starts again; then both do."""
    line = Line(up, "moment", shared_dir)
    line.publish("v1", 1)
    devices = [line.device(name) for name in ("one", "two")]
    line.write_down("moment-v1", "v1", policy={"activation": "together"})
    line.say("start", "moment-v1")
    for device in devices:
        ahead = wait_until(
            lambda place=device: (told := update(up, place))["bytes_downloaded"] and told, "bytes"
        )
        assert (ahead["status"], ahead["reason"]) == ("waiting", "awaits_activation")
        assert update(up, device)["bytes_downloaded"] == 0
        assert (
            json.loads(up.run("graylag-agent", "status", "--dir", device, "--json").stdout)["version"] is None
        )
    line.say("activate", "moment-v1", "--reason", "the keynote begins")
    for device in devices:
        assert wait_until(lambda place=device: update(up, place)["version"] == "v1", "the switch")
    done = line.until("moment-v1", "completed")
    assert done["stages"][0]["outcomes"]["committed"] >= 1
