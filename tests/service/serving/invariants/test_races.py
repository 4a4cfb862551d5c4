"""Four API processes against one database."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.infrastructure import database
from service.store.fleet.devices import DeviceRow
from tests.service.serving.invariants.violations import INVARIANTS
from tests.service.support import actors
from tests.service.support.actors import ok, publish, roll_out
from tests.waiting import wait_until

ROOT = Path(__file__).parents[4]
DATA = b"weights"
DEVICES = [f"racer-{number}" for number in range(60)]
PROCESSES = 4
DISABLED_WITHIN_S = 2
"""How soon every process must stop offering a disabled model."""


@contextmanager
def racing(live, tmp_path):
    """Run processes that poll as fast as they can; yield a function that stops them and returns their output."""
    settings = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in live.settings
        if value is not None
    }
    # Few failures per device, but enough devices for the race to last.
    changes = {"snapshot_interval_s": 0.5, "max_failures_per_version": 3, "scratch_dir": str(tmp_path)}
    (tmp_path / "settings.json").write_text(json.dumps(settings | changes, default=str))
    command = [
        sys.executable,
        "-m",
        "tests.service.serving.invariants.racer",
        tmp_path,
        str(PROCESSES),
        *DEVICES,
    ]
    racers = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        wait_until(lambda: all('"at"' in text for text in _logs(tmp_path)), "a poll of each process")
        yield lambda: _finish(racers, tmp_path)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(racers.pid, signal.SIGKILL)
        racers.wait()


def _logs(tmp_path):
    logs = [tmp_path / f"{number}.log" for number in range(PROCESSES)]
    return [log.read_text() if log.exists() else "" for log in logs]


def _finish(racers, tmp_path):
    (tmp_path / "stop").touch()
    assert racers.wait(timeout=60) == 0, _logs(tmp_path)
    found = []
    for text in _logs(tmp_path):
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found.append([line for line in lines if "at" in line])
    return found


def _last_poll(log):
    """When a process last received a poll, as a POSIX timestamp; 0 for none."""
    lines = [json.loads(line) for line in log.rpartition("\n")[0].splitlines() if line.startswith("{")]
    return max((line["at"] for line in lines if "at" in line), default=0.0)


def granted(live):
    return actors.rows(live, "select count(*) as n from attempts")[0]["n"]


@pytest.mark.timeout(400)
def test_four_processes_respect_pacing_and_stop_at_once(live, tmp_path):
    publish(live, "v1", DATA)
    with database.transaction(live.engine) as session:
        session.add_all(DeviceRow(id=name, public_key=b"", status="accepted") for name in DEVICES)
    policy = {"pacing": {"max_open_downloads": 7, "max_bytes_per_hour": 6 * 120 * len(DATA)}}
    roll_out(live, "r", "v1", policy=policy)
    with racing(live, tmp_path) as finish:
        wait_until(lambda: granted(live) >= 50, "50 attempts")
        ok(live.call("POST", "/v1/admin/rollouts/r/pause", {"reason": "r"}))
        before = granted(live)
        wait_until(lambda: all('"paused"' in text for text in _logs(tmp_path)), "each process to pause")
        assert granted(live) == before, "offered while paused"
        ok(live.call("POST", "/v1/admin/rollouts/r/resume", {"reason": "r"}))
        wait_until(lambda: granted(live) >= 80, "80 attempts")
        ok(live.call("POST", "/v1/admin/models/m/disable", {"reason": "r"}))
        disabled_at = time.time()
        wait_until(
            lambda: all(_last_poll(log) > disabled_at + DISABLED_WITHIN_S for log in _logs(tmp_path)),
            "polls of each process after the limit",
        )
        outputs = finish()
    for violation, query in INVARIANTS.items():
        assert not actors.rows(live, query), violation
    offered_late = "select count(*) as n from attempts where extract(epoch from offered_at) > :since"
    assert actors.rows(live, offered_late, since=disabled_at)[0]["n"] == 0, "offered while disabled"
    for lines in outputs:
        after = [line for line in lines if line["at"] > disabled_at + DISABLED_WITHIN_S]
        assert after
        assert {line["reason"] for line in after} == {"model_disabled"}, "not every process stopped offers"
    reasons = {line["reason"] for lines in outputs for line in lines}
    assert {"update", "throttled", "paused", "model_disabled"} <= reasons
