"""A release manager previews a rollout, and it reaches exactly the devices that the preview listed."""

import json
import os

import pytest

from tests.journeys.conftest import Up
from tests.waiting import wait_until

COUNT = 6

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def devices(up: Up, shared_dir):
    """Devices that have enrolled and polled once; v1 of their model is published."""
    weights = shared_dir / "previewed.bin"
    weights.write_bytes(os.urandom(50_000))
    published = up.run("graylag", "publish", "previewed", "v1", "--component", f"weights={weights}")
    assert published.returncode == 0, published.stderr
    return {
        f"preview-{number:02}": enrolled(up, shared_dir, f"preview-{number:02}") for number in range(COUNT)
    }


def enrolled(up, shared_dir, name):
    directory = shared_dir / name
    up.enroll_device(directory, name, "--model", "previewed", "--attribute", "region=cn-east")
    assert up.run("graylag-agent", "update", "--dir", directory, "--json").returncode == 0
    return directory


def test_the_devices_that_a_preview_lists_are_offered_the_version(up: Up, devices, shared_dir):
    file = shared_dir / "previewed.yaml"
    file.write_text(
        "name: previewed-v1\nmodel: previewed\nversion: v1\nstages:\n"
        "  - {cohort: previewed, percent: 50, advance_when: {reports: 1000}}\n  - {cohort: previewed, percent: 100}\n"
    )
    rule = json.dumps({"attr": "region", "eq": "cn-east"})
    assert up.run("graylag", "cohort", "put", "previewed", "--rule", rule).returncode == 0
    preview = ("graylag", "rollout", "preview", "-f", file, "--devices", str(COUNT))
    shown = wait_until(lambda: preview_of_all(up.run(*preview, "--json")), "a preview of all devices")
    assert 0 < len(shown["devices"]) < COUNT
    assert "it will not advance by itself" in up.run(*preview).stdout
    assert up.run("graylag", "rollout", "create", "-f", file).returncode == 0
    by_name = up.run("graylag", "rollout", "preview", "previewed-v1", "--devices", str(COUNT), "--json")
    assert json.loads(by_name.stdout) == shown
    assert up.run("graylag", "rollout", "start", "previewed-v1").returncode == 0
    updated = [name for name, directory in devices.items() if is_updated(up, directory)]
    assert updated == shown["devices"]


def preview_of_all(done):
    """The preview, once it counts all devices; None before that."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found if found["fleet"]["devices"] == COUNT else None


def is_updated(up, directory):
    done = up.run("graylag-agent", "update", "--dir", directory, "--json")
    return json.loads(done.stdout)["status"] == "updated"


def test_the_patch_plan_is_shown_with_reasons(up: Up, devices, shared_dir):
    weights = shared_dir / "previewed.bin"
    data = bytearray(weights.read_bytes())
    data[100:200] = bytes(100)
    weights.write_bytes(data)
    assert (
        up.run("graylag", "publish", "previewed", "v2", "--component", f"weights={weights}").returncode == 0
    )
    planned = wait_until(lambda: plan_with_built_patch(up), "the patch")
    assert planned[0]["source_versions"] == ["v1"]
    assert "built" in up.run("graylag", "patch", "plan", "previewed", "v2").stdout
    assert "ready" in up.run("graylag", "patch", "list", "previewed", "v2").stdout


def plan_with_built_patch(up):
    """The patch plan, once the first patch is built; None before that."""
    plan = json.loads(up.run("graylag", "patch", "plan", "previewed", "v2", "--json").stdout)
    return plan if plan[0]["reason"] == "built" else None
