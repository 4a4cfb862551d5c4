"""A device that failed a version too often gets it again after an operator has cleared its failures."""

import json
from typing import Any

import pytest

from tests.journeys.conftest import Up
from tests.journeys.test_careful_releases import Releases

WORKS, FAILS = ("--health-check", "true"), ("--health-check", "false", "--health-timeout", "1")


@pytest.fixture
def releases(up: Up, shared_dir):
    """A model with a running rollout to everyone."""
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    found = Releases(up, "chance", shared_dir)
    found.publish("v1", 1)
    found.create_rollout("chance-v1", "v1")
    found.run_action("start", "chance-v1", "--reason", "release 5.4")
    return found


def test_a_device_gets_no_further_offers_until_its_failures_are_cleared(up: Up, releases: Releases):
    device = releases.enroll_device("phone")

    def update(*options: str) -> Any:
        return json.loads(up.run("graylag-agent", "update", "--dir", device, "--json", *options).stdout)

    def why() -> Any:
        return json.loads(up.run("graylag", "why", "chance-phone", "--model", "chance", "--json").stdout)

    tried = [update(*FAILS) for _ in range(4)]
    assert tried[-1]["reason"] == "too_many_failures", tried
    assert why()["rollouts"][0]["failure_limit"] == {"failures": 3, "max_failures": 3, "may_retry": False}
    shown = up.run("graylag", "why", "chance-phone", "--model", "chance").stdout
    assert "failed this version 3 of 3 times" in shown
    cleared = up.run(
        *("graylag", "device", "clear-failures", "chance-phone", "--model", "chance"),
        *("--reason", "storage was replaced"),
    )
    assert cleared.returncode == 0, cleared.stderr
    assert why()["rollouts"][0]["failure_limit"]["may_retry"]
    again = update(*WORKS)
    assert (again["status"], again["version"]) == ("updated", "v1"), again
