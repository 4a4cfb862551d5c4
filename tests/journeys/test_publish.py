"""`graylag publish` as CI runs it, with interruptions and invalid files."""

import hashlib
import json
import os
import signal

import pytest

from service.cli.errors import CliError
from tests.journeys.conftest import Up
from tests.waiting import wait_until

BIG = 160 * 2**20


@pytest.fixture(scope="module")
def big_file(shared_dir):
    path = shared_dir / "big.bin"
    path.write_bytes(os.urandom(2**20) * (BIG // 2**20))
    return path


def publish(up: Up, model: str, label: str, *components: str, **more: str):
    options = [part for component in components for part in ("--component", component)]
    return up.run("graylag", "publish", model, label, *options, "--json", **more)


def test_an_interrupted_upload_is_resumed(up: Up, big_file):
    sha256 = hashlib.sha256(big_file.read_bytes()).hexdigest()
    first = up.start("graylag", "publish", "resumed", "v1", "--component", f"weights={big_file}")

    def missing() -> int | None:
        try:
            upload = up.api.call("POST", "/v1/admin/uploads", {"sha256": sha256})
        except CliError:
            return None
        return (
            len(upload["missing_parts"]) if 0 < len(upload["missing_parts"]) < upload["part_count"] else None
        )

    wait_until(missing, "some parts, but not all")
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = publish(up, "resumed", "v1", f"weights={big_file}")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert result["state"] == "ready"
    assert 0 < result["sent_bytes"] < BIG
    assert result["sent_bytes"] + result["reused_bytes"] == BIG


def test_publishing_the_same_version_again_sends_and_changes_nothing(up: Up, shared_dir):
    weights = shared_dir / "again.bin"
    weights.write_bytes(os.urandom(10_000))
    first = json.loads(publish(up, "again", "v1", f"weights={weights}").stdout)
    second = json.loads(publish(up, "again", "v1", f"weights={weights}").stdout)
    assert first["sent_bytes"] == 10_000
    assert second["sent_bytes"] == 0
    assert second["manifest_sha256"] == first["manifest_sha256"]


def test_a_label_cannot_be_reused_for_other_content(up: Up, shared_dir):
    weights = shared_dir / "taken.bin"
    weights.write_bytes(b"one")
    assert publish(up, "taken", "v1", f"weights={weights}").returncode == 0
    weights.write_bytes(b"two")
    second = publish(up, "taken", "v1", f"weights={weights}")
    assert second.returncode == 1
    assert "[version_exists]" in second.stderr


def test_a_malformed_file_is_rejected_and_never_served(up: Up, shared_dir):
    weights = shared_dir / "hostile.safetensors"
    weights.write_bytes((2**63).to_bytes(8, "little") + b'{"a":{}}')
    done = publish(up, "hostile", "v1", f"weights={weights}")
    assert done.returncode == 1
    assert "[malformed_file]" in done.stderr
    assert "weights" in done.stderr
    assert up.api.call("GET", "/v1/admin/models/hostile/versions/v1")["state"] == "rejected"


def test_a_missing_component_is_named_before_anything_is_sent(up: Up):
    done = publish(up, "absent", "v1", "weights=/no/such/file")
    assert done.returncode == 1
    assert "does not exist" in done.stderr


def test_a_missing_server_url_is_reported_with_the_variable_to_set(up: Up, shared_dir):
    done = publish(up, "nowhere", "v1", f"weights={__file__}", GRAYLAG_URL="", GRAYLAG_TOKEN="")
    assert done.returncode == 1
    assert "GRAYLAG_URL" in done.stderr
