"""Four API processes of the operating system against one database."""

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

from service import database
from service.store.devices import DeviceRow
from tests.service import actors
from tests.service.actors import ok, publish, roll_out
from tests.service.serving.gray_world import PROMISES

ROOT = Path(__file__).parents[3]
DATA = b"weights of the races"
DEVICES = [f"racer-{number}" for number in range(60)]
PROCESSES = 4
HEARD_WITHIN_S = 2
"""What the kill switch promises."""


@contextmanager
def racing(live, tmp_path):
    """Processes that poll as fast as they can; yields a function that stops them and gives all their lines."""
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in live.settings
        if value is not None
    }
    # All else is as it comes: there are enough devices for the race to last although each may fail but three times.
    changes = {"snapshot_check_s": 0.5, "penalty_failures": 3, "scratch_dir": str(tmp_path)}
    (tmp_path / "settings.json").write_text(json.dumps(plain | changes, default=str))
    command = [sys.executable, "-m", "tests.service.serving.racer", tmp_path, str(PROCESSES), *DEVICES]
    racers = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        _wait(lambda: all('"at"' in text for text in _logs(tmp_path)), lambda: _logs(tmp_path))
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


def _wait(happens, otherwise):
    until = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.1)


def granted(live):
    return actors.rows(live, "select count(*) as n from attempts")[0]["n"]


@pytest.mark.timeout(400)
def test_four_processes_keep_a_pace_and_stop_at_once(live, tmp_path):
    publish(live, "v1", DATA)
    with database.transaction(live.engine) as session:
        session.add_all(DeviceRow(id=name, public_key=b"", status="accepted") for name in DEVICES)
    policy = {"pacing": {"open_downloads": 7, "bytes_per_hour": 6 * 120 * len(DATA)}}
    roll_out(live, "r", "v1", policy=policy)
    with racing(live, tmp_path) as finish:
        _wait(lambda: granted(live) >= 50, lambda: "no attempts")
        ok(live.call("POST", "/v1/admin/rollouts/r/pause", {"reason": "r"}))
        before = granted(live)
        _wait(lambda: all('"paused"' in text for text in _logs(tmp_path)), lambda: "not paused")
        assert granted(live) == before, "offered while paused"
        ok(live.call("POST", "/v1/admin/rollouts/r/resume", {"reason": "r"}))
        _wait(lambda: granted(live) >= 80, lambda: "no more attempts")
        ok(live.call("POST", "/v1/admin/models/m/kill", {"reason": "r"}))
        killed = time.time()
        time.sleep(HEARD_WITHIN_S + 1)
        answers = finish()
    for promise, query in PROMISES.items():
        assert not actors.rows(live, query), promise
    late = "select count(*) as n from attempts where extract(epoch from offered_at) > :since"
    assert actors.rows(live, late, since=killed)[0]["n"] == 0, "offered while killed"
    for lines in answers:
        heard = [line for line in lines if line["at"] > killed + HEARD_WITHIN_S]
        assert heard
        assert {line["reason"] for line in heard} == {"killed"}, "every process has heard of the kill"
    reasons = {line["reason"] for lines in answers for line in lines}
    assert {"update", "paced", "paused", "killed"} <= reasons
