"""A release manager looks before starting, and gets what was shown."""

import json
import os

import pytest

from tests.journeys.conftest import Up, wait_until

COUNT = 6

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def devices(up: Up, shared_dir):
    """Devices that have enrolled and asked once; v1 of their model is published."""
    weights = shared_dir / "looked-at.bin"
    weights.write_bytes(os.urandom(50_000))
    published = up.run("graylag", "publish", "looked-at", "v1", "--component", f"weights={weights}")
    assert published.returncode == 0, published.stderr
    return {f"look-{number:02}": enrolled(up, shared_dir, f"look-{number:02}") for number in range(COUNT)}


def enrolled(up, shared_dir, name):
    directory = shared_dir / name
    done = up.run(
        *("graylag-agent", "enroll", "--dir", directory, "--server", up.facts["api_url"]),
        *(
            "--model",
            "looked-at",
            "--token",
            up.facts["enrolment_token"],
            "--trust",
            up.facts["trust_bundle"],
        ),
        *("--device-id", name, "--attribute", "region=cn-east"),
    )
    assert done.returncode == 0, done.stderr
    assert up.run("graylag-agent", "update", "--dir", directory, "--json").returncode == 0
    return directory


def test_the_devices_that_a_preview_lists_are_those_that_are_offered_the_version(up: Up, devices, shared_dir):
    file = shared_dir / "looked-at.yaml"
    file.write_text(
        "name: looked-at-v1\nmodel: looked-at\nversion: v1\nstages:\n"
        "  - {cohort: looked-at, percent: 50, hold: {reports: 1000}}\n  - {cohort: looked-at, percent: 100}\n"
    )
    rule = json.dumps({"attr": "region", "eq": "cn-east"})
    assert up.run("graylag", "cohort", "put", "looked-at", "--rule", rule).returncode == 0
    preview = ("graylag", "rollout", "preview", "-f", file, "--devices", str(COUNT))
    shown = wait_until(lambda: known(up.run(*preview, "--json")), "all devices are known")
    assert 0 < len(shown["devices"]) < COUNT
    assert "it will not end by itself" in up.run(*preview).stdout
    assert up.run("graylag", "rollout", "create", "-f", file).returncode == 0
    by_name = up.run("graylag", "rollout", "preview", "looked-at-v1", "--devices", str(COUNT), "--json")
    assert json.loads(by_name.stdout) == shown
    assert up.run("graylag", "rollout", "start", "looked-at-v1").returncode == 0
    updated = [name for name, directory in devices.items() if is_updated(up, directory)]
    assert updated == shown["devices"]


def known(done):
    """The preview, once all devices' polls have been written down."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found if found["fleet"]["devices"] == COUNT else None


def is_updated(up, directory):
    done = up.run("graylag-agent", "update", "--dir", directory, "--json")
    return json.loads(done.stdout)["status"] == "updated"


def test_the_plan_of_patches_is_shown_with_its_reasons(up: Up, devices, shared_dir):
    weights = shared_dir / "looked-at.bin"
    data = bytearray(weights.read_bytes())
    data[100:200] = bytes(100)
    weights.write_bytes(data)
    assert (
        up.run("graylag", "publish", "looked-at", "v2", "--component", f"weights={weights}").returncode == 0
    )
    made = wait_until(lambda: made_in(plan(up)), "the patch is made")
    assert made[0]["bases"] == ["v1"]
    assert "made" in up.run("graylag", "patches", "plan", "looked-at", "v2").stdout
    assert "ready" in up.run("graylag", "patches", "list", "looked-at", "v2").stdout


def plan(up):
    return json.loads(up.run("graylag", "patches", "plan", "looked-at", "v2", "--json").stdout)


def made_in(found):
    return found if found[0]["why"] == "made" else None
