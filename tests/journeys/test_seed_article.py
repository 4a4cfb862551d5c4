"""The client of the article that the project started from works unchanged, except for its Authorization header."""

import hashlib
import json

import pytest
import requests

from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.storage.identity import DeviceKey
from tests.journeys.conftest import Up, start_up
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def up(shared_dir):
    """A service with one model: the article's requests do not name the model."""
    running = start_up(shared_dir / "article", GRAYLAG_SNAPSHOT_INTERVAL_S="0.1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(up: Up, shared_dir):
    """v1.2 is installed, v1.3 is rolled out to everyone, and one device has enrolled."""
    for label in ("v1.2", "v1.3"):
        weights = shared_dir / f"{label}.bin"
        weights.write_bytes(hashlib.sha256(label.encode()).digest() * 40_000)
        done = up.run("graylag", "publish", "phone", label, "--component", f"weights={weights}", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "ready"
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    stages = [{"cohort": "everyone", "percent": 100, "advance_when": {"reports": 0}}]
    rollout = {"name": "all", "model": "phone", "version": "v1.3", "stages": stages}
    up.api.call("POST", "/v1/admin/rollouts", rollout)
    up.api.call("POST", "/v1/admin/rollouts/all/start", {"reason": "the article"})
    wait_until(lambda: up.api.call("GET", "/v1/admin/rollouts/all")["state"] == "completed", "completion")
    device = shared_dir / "dev_12345"
    up.enroll_device(device, "dev_12345")
    return device


def test_the_request_of_the_article_gets_the_response_of_the_article(up: Up, served):
    base, token = up.facts["api_url"], access_token(up, served)

    def response_with_offer():
        response = requests.post(
            f"{base}/v1/model/update",
            json={"device_id": "dev_12345", "current_version": "v1.2"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
        )
        assert response.status_code == 200, response.text
        return response.json() if response.json()["reason"] != "patch_building" else None

    data = wait_until(response_with_offer, "an offer")
    assert data["need_update"] is True
    assert data["target_version"] == "v1.3"
    weights = requests.get(data["download_url"], timeout=5)
    assert weights.status_code == 200
    assert weights.content == hashlib.sha256(b"v1.3").digest() * 40_000


def test_an_up_to_date_device_gets_no_update(up: Up, served):
    response = requests.post(
        f"{up.facts['api_url']}/v1/model/update",
        json={"device_id": "dev_12345", "current_version": "v1.3"},
        headers={"Authorization": f"Bearer {access_token(up, served)}"},
        timeout=5,
    )
    assert response.json()["need_update"] is False
    assert response.json()["reason"] == "up_to_date"


def test_model_info_names_the_newest_released_version(up: Up, served):
    info = wait_until(
        lambda: (
            (found := requests.get(f"{up.facts['api_url']}/v1/model/info", timeout=5).json())["version"]
            and found
        ),
        "a released version",
    )
    assert info["model"] == "phone"
    assert info["version"] == "v1.3"


def test_health_has_the_response_of_the_article(up: Up):
    assert requests.get(f"{up.facts['api_url']}/health", timeout=5).json() == {"status": "ok"}


def test_the_reference_client_updates_the_same_device(up: Up, served):
    done = up.run("graylag-agent", "update", "--dir", served, "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(up.run("graylag-agent", "status", "--dir", served, "--json").stdout)
    assert status["version"] == "v1.3"


def access_token(up: Up, device) -> str:
    """An access token, requested with the device's key as an SDK does it."""
    proof = DeviceKey.load_or_create(device, LocalFileSystem()).assertion("dev_12345")
    response = requests.post(f"{up.facts['api_url']}/v1/device/token", json={"assertion": proof}, timeout=5)
    assert response.status_code == 200, response.text
    token: str = response.json()["access_token"]
    return token
