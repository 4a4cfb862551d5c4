"""A device on which a version failed, and an operator who has mended the device."""

import json

import pytest

from tests.journeys.conftest import Up
from tests.journeys.test_careful_releases import Line

WORKS, FAILS = ("--health", "true"), ("--health", "false", "--patience", "1")


@pytest.fixture
def line(up: Up, shared_dir):
    """One model on its way to everyone."""
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    found = Line(up, "chance", shared_dir)
    found.publish("v1", 1)
    found.write_down("chance-v1", "v1")
    found.say("start", "chance-v1", "--reason", "release 5.4")
    return found


def test_a_device_is_left_alone_until_somebody_forgives_it(up: Up, line: Line):
    device = line.device("phone")

    def update(*options: str) -> dict:
        return json.loads(up.run("graylag-agent", "update", "--dir", device, "--json", *options).stdout)

    def why() -> dict:
        return json.loads(up.run("graylag", "why", "chance-phone", "--model", "chance", "--json").stdout)

    tried = [update(*FAILS) for _ in range(4)]
    assert tried[-1]["reason"] == "penalty", tried
    assert why()["rollouts"][0]["penalty"] == {"failures": 3, "allowed": 3, "may_retry": False}
    told = up.run("graylag", "why", "chance-phone", "--model", "chance").stdout
    assert "failed it 3 of 3 times as things are" in told
    forgiven = up.run(
        *("graylag", "device", "forgive", "chance-phone", "--model", "chance"),
        *("--reason", "the shop has swapped its storage"),
    )
    assert forgiven.returncode == 0, forgiven.stderr
    assert why()["rollouts"][0]["penalty"]["may_retry"]
    again = update(*WORKS)
    assert (again["status"], again["version"]) == ("updated", "v1"), again
