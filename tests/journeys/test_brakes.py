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
from tests.journeys.conftest import start_up
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


@pytest.fixture(scope="module")
def fleet(unwatched, shared_dir):
    """Devices of a rollout that has just started."""
    weights = shared_dir / "braked.bin"
    weights.write_bytes(os.urandom(50_000))
    done = unwatched.run("graylag", "publish", "m", "v1", "--component", f"weights={weights}")
    assert done.returncode == 0, done.stderr
    api = unwatched.api
    api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    stage = {
        "cohort": "everyone",
        "percent": 100,
        "hold": {"reports": 1000},
        "gates": [{"metric": "failure_rate", "max": BOUND}],
    }
    api.call("POST", "/v1/admin/rollouts", {"name": "r", "model": "m", "version": "v1", "stages": [stage]})
    api.call("POST", "/v1/admin/rollouts/r/start", {})
    with httpx2.Client(base_url=unwatched.facts["api_url"], trust_env=False, timeout=30) as client:
        live = SimpleNamespace(client=client, enrolment_token=unwatched.facts["enrolment_token"])
        devices = [Device(live, f"braked-{number}") for number in range(POLLING + deciding())]
        for device in devices:
            device.token = ok(device.enrol())["access_token"]
        yield devices


def deciding():
    """How many failures, one after the other, stop a rollout."""
    return next(n for n in range(2, 100) if rate_above(n, n, BOUND) >= -math.log(ALPHA_WHOLE))


def ask_until(stop, devices, offered):
    """Poll all the time; note when each offer came in."""
    while not stop.is_set():
        for device in devices:
            if device.poll()["need_update"]:
                offered.append(time.monotonic())


def test_the_last_offer_leaves_within_two_seconds_of_the_report_that_decides(unwatched, fleet):
    asking, failing = fleet[:POLLING], fleet[POLLING:]
    attempts = [(device, device.poll()["attempt_id"]) for device in failing]
    offered, stop = [], threading.Event()
    threads = [
        threading.Thread(target=ask_until, args=(stop, asking[half::2], offered), daemon=True)
        for half in range(2)
    ]
    for thread in threads:
        thread.start()
    while len(offered) < 2 * POLLING:
        time.sleep(0.01)
    for device, attempt in attempts:
        sent = time.monotonic()
        device.finish(attempt, "rolled_back", code="crash_loop")
    time.sleep(LIMIT_S + 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert offered[-1] - sent <= LIMIT_S
    found = unwatched.api.call("GET", "/v1/admin/rollouts/r")
    assert found["state"] == "halted"
    assert found["reason"].startswith(f"failure_rate {len(failing)}/")
