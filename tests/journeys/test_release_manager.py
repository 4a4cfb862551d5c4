"""A release manager who uses only the command line."""

import json
import os

import pytest

from tests.journeys.conftest import Up


@pytest.fixture(scope="module")
def device(up: Up, shared_dir):
    """One enrolled device without a version; v1 is published."""
    weights = shared_dir / "managed.bin"
    weights.write_bytes(os.urandom(50_000))
    assert up.run("graylag", "publish", "managed", "v1", "--component", f"weights={weights}").returncode == 0
    directory = shared_dir / "managed-device"
    up.enroll_device(directory, "managed-1", "--model", "managed", "--attribute", "region=cn-east")
    return directory


def test_five_commands_bring_a_version_to_the_fleet(up: Up, device):
    rule = json.dumps({"attr": "region", "eq": "cn-east"})
    assert up.run("graylag", "cohort", "put", "cn-east", "--rule", rule).returncode == 0
    made = up.run(
        *("graylag", "rollout", "create", "--name", "v1-cn", "--model", "managed", "--version", "v1"),
        *("--stage", "cn-east:100:1"),
    )
    assert made.returncode == 0, made.stderr
    started = up.run("graylag", "rollout", "start", "v1-cn", "--reason", "release")
    assert "running, stage 1 of 1" in started.stdout
    updated = up.run("graylag-agent", "update", "--dir", device, "--json")
    assert json.loads(updated.stdout)["status"] == "updated", updated.stderr
    watched = up.run("graylag", "rollout", "watch", "v1-cn")
    assert watched.returncode == 0
    assert "complete" in watched.stdout
    status = json.loads(up.run("graylag", "rollout", "status", "v1-cn", "--json").stdout)
    assert status["stages"][0]["outcomes"]["committed"] == 1


def test_lists_are_printed_as_tables_and_as_json(up: Up, device):
    assert "cn-east" in up.run("graylag", "cohort", "list").stdout
    listed = json.loads(up.run("graylag", "rollout", "list", "--json").stdout)
    assert [one["model"] for one in listed if one["name"] == "v1-cn"] == ["managed"]


def test_an_error_is_one_line_with_its_code(up: Up, device):
    done = up.run("graylag", "rollout", "start", "nosuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().splitlines() == [
        "graylag: not found: there is no rollout 'nosuch'; see `graylag rollout list` (rollout) [not_found]"
    ]
    wrong = up.run("graylag", "cohort", "put", "bad", "--rule", '{"attr": "ram", "about": 1}')
    assert "[invalid_rule]" in wrong.stderr
