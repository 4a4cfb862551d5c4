"""The client of the article that this project grew from, unchanged but for its Authorization header."""

import hashlib
import json

import pytest
import requests

from sdk_contract.client.files import DiskFiles
from sdk_contract.client.identity import DeviceKey
from tests.journeys.conftest import Up, start_up, wait_until


@pytest.fixture(scope="module")
def up(shared_dir):
    """A service of its own: the article names no model, which will do where there is one only."""
    running = start_up(shared_dir / "article", GRAYLAG_SNAPSHOT_CHECK_S="0.1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(up: Up, shared_dir):
    """v1.2 is what devices run, v1.3 is released to everyone; one device has enrolled."""
    for label in ("v1.2", "v1.3"):
        weights = shared_dir / f"{label}.bin"
        weights.write_bytes(hashlib.sha256(label.encode()).digest() * 40_000)
        done = up.run("graylag", "publish", "phone", label, "--component", f"weights={weights}", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "ready"
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    stages = [{"cohort": "everyone", "percent": 100, "hold": {"reports": 0}}]
    rollout = {"name": "all", "model": "phone", "version": "v1.3", "stages": stages}
    up.api.call("POST", "/v1/admin/rollouts", rollout)
    up.api.call("POST", "/v1/admin/rollouts/all/start", {"reason": "the article"})
    wait_until(lambda: up.api.call("GET", "/v1/admin/rollouts/all")["state"] == "completed", "completion")
    device = shared_dir / "dev_12345"
    done = up.run(
        *("graylag-agent", "enroll", "--dir", device, "--server", up.facts["api_url"]),
        *(
            "--token",
            up.facts["enrolment_token"],
            "--trust",
            up.facts["trust_bundle"],
            "--device-id",
            "dev_12345",
        ),
    )
    assert done.returncode == 0, done.stderr
    return device


def test_the_articles_request_gets_the_articles_answer(up: Up, served):
    base, token = up.facts["api_url"], access_token(up, served)

    def answer():
        response = requests.post(
            f"{base}/v1/model/update",
            json={"device_id": "dev_12345", "current_version": "v1.2"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
        )
        assert response.status_code == 200, response.text
        return response.json() if response.json()["reason"] != "patch_building" else None

    data = wait_until(answer, "an offer")
    assert data["need_update"] is True
    assert data["target_version"] == "v1.3"
    weights = requests.get(data["download_url"], timeout=5)
    assert weights.status_code == 200
    assert weights.content == hashlib.sha256(b"v1.3").digest() * 40_000


def test_a_device_that_is_up_to_date_is_told_so(up: Up, served):
    response = requests.post(
        f"{up.facts['api_url']}/v1/model/update",
        json={"device_id": "dev_12345", "current_version": "v1.3"},
        headers={"Authorization": f"Bearer {access_token(up, served)}"},
        timeout=5,
    )
    assert response.json()["need_update"] is False
    assert response.json()["reason"] == "up_to_date"


def test_the_model_info_names_the_newest_released_version(up: Up, served):
    info = wait_until(
        lambda: (
            (found := requests.get(f"{up.facts['api_url']}/v1/model/info", timeout=5).json())["version"]
            and found
        ),
        "a released version",
    )
    assert info["model"] == "phone"
    assert info["version"] == "v1.3"


def test_health_is_as_the_article_shows_it(up: Up):
    assert requests.get(f"{up.facts['api_url']}/health", timeout=5).json() == {"status": "ok"}


def test_the_reference_client_brings_the_same_device_up_to_date(up: Up, served):
    done = up.run("graylag-agent", "update", "--dir", served, "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(up.run("graylag-agent", "status", "--dir", served, "--json").stdout)
    assert status["version"] == "v1.3"


def access_token(up: Up, device) -> str:
    """An access token of the device, by its own key, as the SDK gets one."""
    proof = DeviceKey.load_or_make(device, DiskFiles()).assertion("dev_12345")
    answer = requests.post(f"{up.facts['api_url']}/v1/device/token", json={"assertion": proof}, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]
