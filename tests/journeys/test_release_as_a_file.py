"""A release described by a file: CI publishes, `graylag apply` configures, a webhook notifies, the audit log is verified."""

import json
import os
from functools import partial
from types import SimpleNamespace

import httpx2
import pytest

from tests.journeys.conftest import Up
from tests.service.support.actors import Device, ok
from tests.service.support.webhook_receiver import listening, verified
from tests.waiting import wait_until

FILE = """
cohorts:
  - {name: filed, rule: {attr: region, eq: cn-east}, description: the east}
templates:
  - name: filed-careful
    stages:
      - {cohort: filed, percent: 100, advance_when: {reports: 1}, gates: [{metric: failure_rate, max: 0.05}]}
webhooks:
  - {name: filed-ops, url: "%(url)s", event_types: [rollout.start, rollout.complete, rollout.halt]}
rollouts:
  - {name: filed-v1, model: filed, version: v1, template: filed-careful}
"""


EAST = {"attributes": {"region": "cn-east"}}


@pytest.fixture(scope="module")
def receiver():
    with listening() as server:
        yield server


@pytest.fixture(scope="module")
def file(shared_dir, receiver):
    path = shared_dir / "graylag.yaml"
    path.write_text(FILE % {"url": receiver.url})
    return path


@pytest.fixture(scope="module")
def token_of(up: Up):
    """Returns an API token with a scope."""
    made = {}

    def give(scope):
        if scope not in made:
            body = {"name": f"filed-{scope}", "scope": scope}
            made[scope] = up.api.call("POST", "/v1/admin/tokens", body)["token"]
        return made[scope]

    return give


def done(up, *words, token=None):
    """Run a command that must succeed; return its output."""
    environment = {"GRAYLAG_TOKEN": token} if token else {}
    ended = up.run(*words, **environment)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def _publish_v1(up, shared_dir, token):
    weights = shared_dir / "filed.bin"
    weights.write_bytes(os.urandom(50_000))
    publish = ("graylag", "publish", "filed", "v1", "--component", f"weights={weights}")
    assert (
        "is ready" in done(up, *publish, token=token)
        or up.api.call("GET", "/v1/admin/models/filed/versions/v1")["state"] == "ready"
    )


def _verified_events(receiver, secret):
    """The webhook's first three events by type, after their signatures were verified."""
    messages = wait_until(
        lambda: receiver.received[:] if len(receiver.received) >= 3 else None, "three messages"
    )
    verified_events = (verified(headers, body, secret) for headers, body in messages)
    return {event["type"]: event for _id, event in verified_events}


def test_a_release_from_ci_to_the_fleet_with_webhooks_and_audit_log(
    up: Up, shared_dir, file, receiver, token_of
):
    _publish_v1(up, shared_dir, token_of("publisher"))

    manager = token_of("release-manager")
    assert "+ create rollouts/filed-v1" in done(
        up, "graylag", "apply", "-f", file, "--dry-run", token=manager
    )
    applied = json.loads(done(up, "graylag", "apply", "-f", file, "--json", token=manager))
    secret = applied["secrets"]["filed-ops"]
    done(up, "graylag", "webhook", "test", "filed-ops", token=manager)

    refused = up.run("graylag", "rollout", "start", "filed-v1", GRAYLAG_TOKEN=token_of("viewer"))
    assert (refused.returncode, "[forbidden]" in refused.stderr) == (1, True)
    done(up, "graylag", "rollout", "start", "filed-v1", "--reason", "release 5.4", token=manager)
    head = json.loads(done(up, "graylag", "audit", "verify", "--json"))["head"]

    device = shared_dir / "filed-device"
    up.enroll_device(device, "filed-1", "--model", "filed", "--attribute", "region=cn-east")
    assert json.loads(done(up, "graylag-agent", "update", "--dir", device, "--json"))["status"] == "updated"
    assert "complete" in done(up, "graylag", "rollout", "watch", "filed-v1", token=token_of("viewer"))

    events = _verified_events(receiver, secret)
    assert events.keys() == {"webhook.test", "rollout.start", "rollout.complete"}
    assert events["rollout.start"]["data"]["actor"] == "filed-release-manager"
    assert events["rollout.start"]["data"]["reason"] == "release 5.4"
    assert events["rollout.complete"]["data"]["version"] == "v1"

    checked = json.loads(done(up, "graylag", "audit", "verify", "--expect", head, "--json"))
    assert (checked["valid"], checked["expected_found"]) == (True, True)
    entries = json.loads(done(up, "graylag", "audit", "list", "--subject", "rollout:filed-v1", "--json"))
    assert [entry["verb"] for entry in entries] == ["rollout.create", "rollout.start", "rollout.complete"]


def _offer_of_v2(device):
    """The attempt id; None while the snapshot still lacks the new rollout."""
    answer = device.poll(model="filed", **EAST)
    return answer.get("attempt_id") if answer.get("rollout") == "filed-v2" else None


def test_a_bad_version_is_halted_and_the_webhook_gets_the_reason(up: Up, shared_dir, receiver, token_of):
    manager, weights = token_of("release-manager"), shared_dir / "filed-v2.bin"
    weights.write_bytes(os.urandom(50_000))
    done(up, "graylag", "publish", "filed", "v2", "--component", f"weights={weights}")
    names = ("--name", "filed-v2", "--model", "filed", "--version", "v2", "--template", "filed-careful")
    assert "draft of 1 stage;" in done(up, "graylag", "rollout", "create", *names, token=manager)
    up.api.call("POST", "/v1/admin/rollouts/filed-v2/start", {"reason": "release 5.5"})
    with httpx2.Client(base_url=up.facts["api_url"], trust_env=False, timeout=30) as client:
        live = SimpleNamespace(client=client, enrollment_token=up.facts["enrollment_token"])
        devices = [Device(live, f"unlucky-{number}") for number in range(6)]
        for device in devices:
            device.token = ok(device.enroll(**EAST))["access_token"]
        offers = [wait_until(partial(_offer_of_v2, one), "an offer of v2") for one in devices]
        for device, offer in zip(devices, offers, strict=True):
            device.finish(offer, "rolled_back", code="crash_loop")

    def halt_event():
        events = [json.loads(body) for _headers, body in receiver.received]
        return next((event for event in events if event["type"] == "rollout.halt"), None)

    halted = wait_until(halt_event, "the halt event")
    assert halted["data"]["rollout"] == "filed-v2"
    assert halted["data"]["actor"] == "gates"
    assert halted["data"]["reason"].startswith("failure_rate")
    watched = up.run("graylag", "rollout", "watch", "filed-v2")
    assert (watched.returncode, "halt" in watched.stdout) == (1, True)


def test_applying_the_file_again_changes_nothing_and_leaves_running_rollouts_alone(up: Up, file, token_of):
    manager = token_of("release-manager")
    assert "0 changed or skipped, 4 unchanged" in done(up, "graylag", "apply", "-f", file, token=manager)
    file.write_text(file.read_text().replace("version: v1, ", "version: v1, priority: 7, "))
    again = done(up, "graylag", "apply", "-f", file, token=manager)
    assert "! skipped rollouts/filed-v1" in again
    assert "priority: 0 -> 7" in again
    exported = done(up, "graylag", "export", token=manager)
    assert "filed-careful" in exported
    assert "whsec_" not in exported


def test_an_invalid_file_changes_nothing_and_the_error_names_the_place(up: Up, file, token_of):
    before = up.api.call("GET", "/v1/admin/config")
    bad = file.with_name("bad.yaml")
    bad.write_text(
        file.read_text()
        .replace("percent: 100, advance_when", "percent: 101, advance_when")
        .replace("the east", "the west")
    )
    ended = up.run("graylag", "apply", "-f", bad, GRAYLAG_TOKEN=token_of("release-manager"))
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith("(templates.0.stages.0.percent) [invalid_stages]")
    assert up.api.call("GET", "/v1/admin/config") == before
