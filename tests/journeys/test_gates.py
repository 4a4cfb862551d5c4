"""Gates stop a bad version, or pause one device class, while devices keep polling."""

import math
import os
import threading
import time
from types import SimpleNamespace

import httpx2
import pytest

from service.domain.gates.evidence import rate_evidence
from service.domain.gates.stage_evaluation import ALPHA_FLEET
from tests.journeys.conftest import start_up
from tests.service.support.actors import Device, ok
from tests.waiting import wait_until

BOUND = 0.05
POLLING = 24
LIMIT_S = 2.0
"""From the decisive report to the last offer."""


@pytest.fixture(scope="module")
def without_beat(shared_dir):
    """A service whose beat never evaluates gates: the API process alone must stop the rollout."""
    running = start_up(shared_dir / "gates", GRAYLAG_GATE_INTERVAL_S="3600")
    yield running
    running.stop()


@pytest.fixture
def client(without_beat):
    """The part of a live service that `Device` uses."""
    with httpx2.Client(base_url=without_beat.facts["api_url"], trust_env=False, timeout=60) as made:
        yield SimpleNamespace(client=made, enrollment_token=without_beat.facts["enrollment_token"])


def roll_out(running, directory, model, name):
    """Start a rollout to everyone with a failure-rate gate."""
    weights = directory / f"{model}.bin"
    weights.write_bytes(os.urandom(50_000))
    done = running.run("graylag", "publish", model, "v1", "--component", f"weights={weights}")
    assert done.returncode == 0, done.stderr
    api = running.api
    api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    stage = {
        "cohort": "everyone",
        "percent": 100,
        "advance_when": {"reports": 1000},
        "gates": [{"metric": "failure_rate", "max": BOUND}],
    }
    body = {"name": name, "model": model, "version": "v1", "stages": [stage]}
    api.call("POST", "/v1/admin/rollouts", body)
    api.call("POST", f"/v1/admin/rollouts/{name}/start", {})


def enrolled(live, prefix, count):
    """Enrolled devices."""
    devices = [Device(live, f"{prefix}-{number}") for number in range(count)]
    for device in devices:
        device.token = ok(device.enroll())["access_token"]
    return devices


def failures_for_a_breach():
    """The number of failures without a success that is a breach."""
    return next(n for n in range(2, 100) if rate_evidence(n, n, BOUND) >= -math.log(ALPHA_FLEET))


def poll_until(stop, devices, offered, rounds):
    """Poll without pause; record the time of each offer, and when each complete round of polls began."""
    while not stop.is_set():
        began = time.monotonic()
        for device in devices:
            if device.poll(model="bad-model")["need_update"]:
                offered.append(time.monotonic())
        rounds.append(began)


def test_the_last_offer_is_made_within_two_seconds_of_the_decisive_report(without_beat, shared_dir, client):
    roll_out(without_beat, shared_dir, "bad-model", "bad")
    polling, failing = (
        enrolled(client, "polling", POLLING),
        enrolled(client, "failing", failures_for_a_breach()),
    )
    wait_until(lambda: polling[0].poll(model="bad-model")["need_update"], "the first offer")
    attempts = [(device, device.poll(model="bad-model")["attempt_id"]) for device in failing]
    offered: list[float] = []
    rounds: tuple[list[float], list[float]] = ([], [])
    stop = threading.Event()
    threads = [
        threading.Thread(target=poll_until, args=(stop, polling[half::2], offered, rounds[half]), daemon=True)
        for half in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(offered) > 2 * POLLING, "offers to everyone")
    for device, attempt in attempts:
        sent = time.monotonic()
        device.finish(attempt, "rolled_back", code="crash_loop")
    wait_until(
        lambda: without_beat.api.call("GET", "/v1/admin/rollouts/bad")["state"] == "halted", "the halt"
    )
    wait_until(
        lambda: all(began and began[-1] > sent + LIMIT_S for began in rounds),
        "a round of polls after the limit",
    )
    stop.set()
    for thread in threads:
        thread.join()
    assert offered[-1] - sent <= LIMIT_S
    reason = without_beat.api.call("GET", "/v1/admin/rollouts/bad")["reason"]
    assert reason.startswith(f"failure_rate {len(failing)}/")


def test_a_failing_device_class_is_paused_and_resumed(without_beat, shared_dir, client):
    roll_out(without_beat, shared_dir, "chips", "mixed")
    devices = enrolled(client, "chip", 26)
    wait_until(lambda: devices[0].poll(model="chips")["need_update"], "the first offer")
    for number, device in enumerate(devices[:25]):
        chip = {"soc": "broken" if number >= 20 else "fine"}
        attempt = device.poll(model="chips", attributes=chip)["attempt_id"]
        device.finish(attempt, "failed" if number >= 20 else "committed")

    def command(*words):
        done = without_beat.run("graylag", "rollout", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    late = devices[25]
    gates = "/v1/admin/rollouts/mixed/gates"
    wait_until(lambda: without_beat.api.call("GET", gates)["paused_classes"], "the pause")
    shown = command("status", "mixed")
    assert "paused device class: soc=broken" in shown
    assert "mixed: chips v1 is running" in shown
    assert "failure_rate" in shown
    assert late.poll(model="chips", attributes={"soc": "broken"})["reason"] == "device_class_paused"
    assert late.poll(model="chips", attributes={"soc": "fine"})["need_update"]
    assert "mixed is resumed for soc=broken" in command(
        "resume-class", "mixed", "soc=broken", "--reason", "new driver"
    )
    wait_until(
        lambda: late.poll(model="chips", attributes={"soc": "broken"})["need_update"],
        "new offers to the device class",
    )
    assert "wait" in command("gate-history", "mixed")
