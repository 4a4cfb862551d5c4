"""A bad version in a fleet that keeps asking: how soon does the last offer leave?"""

import math
import os
import threading
import time
from types import SimpleNamespace

import httpx2
import pytest

from service.domain.brakes import ALPHA_WHOLE
from service.domain.evidence import rate_above
from tests.journeys.conftest import start_up, wait_until
from tests.service.actors import Device, ok

BOUND = 0.05
POLLING = 24
LIMIT_S = 2.0


@pytest.fixture(scope="module")
def unwatched(shared_dir):
    """A running service whose beat never looks at gates: the API process alone has to brake."""
    running = start_up(shared_dir / "brakes", GRAYLAG_ROLLOUT_TICK_S="3600")
    yield running
    running.stop()


@pytest.fixture
def client(unwatched):
    """What `Device` asks of a service."""
    with httpx2.Client(base_url=unwatched.facts["api_url"], trust_env=False, timeout=60) as made:
        yield SimpleNamespace(client=made, enrolment_token=unwatched.facts["enrolment_token"])


def roll_out(running, directory, model, name):
    """A version on its way to everyone, bounded by a failure rate."""
    weights = directory / f"{model}.bin"
    weights.write_bytes(os.urandom(50_000))
    done = running.run("graylag", "publish", model, "v1", "--component", f"weights={weights}")
    assert done.returncode == 0, done.stderr
    api = running.api
    api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    stage = {
        "cohort": "everyone",
        "percent": 100,
        "hold": {"reports": 1000},
        "gates": [{"metric": "failure_rate", "max": BOUND}],
    }
    body = {"name": name, "model": model, "version": "v1", "stages": [stage]}
    api.call("POST", "/v1/admin/rollouts", body)
    api.call("POST", f"/v1/admin/rollouts/{name}/start", {})


def enrolled(live, prefix, count):
    """Devices that have come in."""
    devices = [Device(live, f"{prefix}-{number}") for number in range(count)]
    for device in devices:
        device.token = ok(device.enrol())["access_token"]
    return devices


def deciding():
    """How many failures, one after the other, stop a rollout."""
    return next(n for n in range(2, 100) if rate_above(n, n, BOUND) >= -math.log(ALPHA_WHOLE))


def ask_until(stop, devices, offered):
    """Poll all the time; note when each offer came in."""
    while not stop.is_set():
        for device in devices:
            if device.poll(model="braked")["need_update"]:
                offered.append(time.monotonic())


def test_the_last_offer_leaves_within_two_seconds_of_the_report_that_decides(unwatched, shared_dir, client):
    roll_out(unwatched, shared_dir, "braked", "bad")
    asking, failing = enrolled(client, "asking", POLLING), enrolled(client, "failing", deciding())
    wait_until(lambda: asking[0].poll(model="braked")["need_update"], "the first offer")
    attempts = [(device, device.poll(model="braked")["attempt_id"]) for device in failing]
    offered, stop = [], threading.Event()
    threads = [
        threading.Thread(target=ask_until, args=(stop, asking[half::2], offered), daemon=True)
        for half in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(offered) > 2 * POLLING, "offers to everyone")
    for device, attempt in attempts:
        sent = time.monotonic()
        device.finish(attempt, "rolled_back", code="crash_loop")
    wait_until(lambda: unwatched.api.call("GET", "/v1/admin/rollouts/bad")["state"] == "halted", "the halt")
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert offered[-1] - sent <= LIMIT_S
    reason = unwatched.api.call("GET", "/v1/admin/rollouts/bad")["reason"]
    assert reason.startswith(f"failure_rate {len(failing)}/")


def test_one_chip_fails_and_the_release_manager_lets_it_in_again(unwatched, shared_dir, client):
    roll_out(unwatched, shared_dir, "chips", "mixed")
    devices = enrolled(client, "chip", 26)
    wait_until(lambda: devices[0].poll(model="chips")["need_update"], "the first offer")
    for number, device in enumerate(devices[:25]):
        chip = {"soc": "broken" if number >= 20 else "fine"}
        attempt = device.poll(model="chips", attributes=chip)["attempt_id"]
        device.finish(attempt, "failed" if number >= 20 else "committed")

    def command(*words):
        done = unwatched.run("graylag", "rollout", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    late = devices[25]
    wait_until(lambda: "held back: soc=broken" in command("status", "mixed"), "the chip to be held back")
    shown = command("status", "mixed")
    assert "mixed: chips v1 is running" in shown
    assert "failure_rate" in shown
    assert late.poll(model="chips", attributes={"soc": "broken"})["reason"] == "stratum_held"
    assert late.poll(model="chips", attributes={"soc": "fine"})["need_update"]
    assert "soc=broken gets mixed again" in command(
        "release", "mixed", "soc=broken", "--reason", "new driver"
    )
    wait_until(
        lambda: late.poll(model="chips", attributes={"soc": "broken"})["need_update"],
        "offers to the chip again",
    )
    assert "hold" in command("verdicts", "mixed")
