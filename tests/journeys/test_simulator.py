"""`graylag simulate`, in its own process and against a running server."""

import json
import os
import pty
import signal
import subprocess
import threading
from contextlib import suppress

import psutil

from tests.journeys.conftest import BIN, process_tree, run
from tests.waiting import PATIENCE_S, wait_until

FIGURES = {
    "devices",
    "simulated_hours",
    "polls",
    "legacy_polls",
    "lost_requests",
    "failed_requests",
    "offers",
    "bytes",
    "outcomes",
    "reasons",
    "statuses",
    "problems",
    "versions",
    "peak_polls_per_minute",
    "peak_to_mean",
    "interrupted",
    "seconds",
    "cpu_s",
    "peak_mb",
}
DAY = """
hours: 24
poll_interval_s: 7200
versions: {v1: 0.8, v0: 0.2}
networks: {wifi: {share: 0.8}, cellular: {share: 0.2, mbit_s: 12, loss: 0.02}}
stages: [{percent: 20, reports: 10, minutes: 60, max_failure_rate: 0.2}, {percent: 100, max_failure_rate: 0.2}]
pacing: {open_downloads: 0.2, downloads_per_hour: 0.2}
old_clients: 0.3
clock_skew_s: 30
"""


class _Terminal(threading.Thread):
    """Reads a terminal to its end, because a process that writes to a full terminal blocks."""

    def __init__(self, end):
        super().__init__()
        self.end, self.text = end, b""
        self.start()

    def run(self):
        # Linux raises EIO when the last process on the terminal has ended.
        with suppress(OSError):
            while read := os.read(self.end, 65536):
                self.text += read
        os.close(self.end)


def test_a_simulated_day_ends_with_one_json_object_and_no_limit_is_exceeded(tmp_path):
    (tmp_path / "day.yaml").write_text(DAY)
    done = run(
        *("graylag", "simulate", "--in-process", "--devices", "200", "--json"),
        *("--scenario", tmp_path / "day.yaml"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result.keys() == FIGURES | {"rollout", "history", "limits"}
    assert result["versions"] == {"v2": 200}
    assert result["rollout"] == "completed, stage 2 of 2"
    assert [event["kind"] for event in result["history"]] == ["create", "start", "advance", "complete"]
    assert result["limits"]["exceeded"] == []
    bytes_per_hour = result["limits"]["max_bytes_per_hour"]
    assert 0 < bytes_per_hour["observed"] <= bytes_per_hour["limit"]
    assert 0 < result["limits"]["max_open_downloads"]["observed"] <= 40
    assert result["legacy_polls"] > 0 < result["lost_requests"]


def test_ctrl_c_ends_a_simulation_with_the_result_so_far_and_leaves_no_process(tmp_path):
    (tmp_path / "years.yaml").write_text("hours: 2000\npoll_interval_s: 600\n")
    watching, shown = pty.openpty()
    process = subprocess.Popen(
        [BIN / "graylag", "simulate", "--in-process", "--scenario", tmp_path / "years.yaml", "--json"],
        stdout=subprocess.PIPE,
        stderr=shown,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
    )
    os.close(shown)
    seen = _Terminal(watching)
    wait_until(lambda: b"up_to_date" in seen.text or b"no_rollout" in seen.text, "figures on the terminal")
    processes = process_tree(process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    seen.join()
    result = json.loads(output)
    assert process.returncode == 130
    assert result["interrupted"]
    assert result["polls"] > 0
    assert 0 < result["simulated_hours"] < 2000
    assert not psutil.wait_procs(processes, timeout=20)[1]


def test_a_running_server_is_polled_at_the_rate_and_accepts_requests_of_earlier_releases(up, tmp_path):
    up.api.call("PUT", "/v1/admin/models/simulated", {})
    (tmp_path / "old.yaml").write_text("model: simulated\nold_clients: 0.5\n")
    done = up.run(
        *("graylag", "simulate", "--devices", "60", "--rate", "30", "--seconds", "4", "--json"),
        *("--scenario", tmp_path / "old.yaml"),
        GRAYLAG_ENROLLMENT_TOKEN=up.facts["enrollment_token"],
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result.keys() == FIGURES | {"polls_per_s", "p99_ms"}
    assert 0 < result["polls_per_s"] <= 31
    assert result["statuses"] == {"200": result["polls"]}
    assert 0 < result["legacy_polls"] < result["polls"]
    assert result["failed_requests"] == 0


def test_an_unknown_model_is_a_problem_in_the_result(up, tmp_path):
    done = up.run(
        *("graylag", "simulate", "--devices", "5", "--rate", "20", "--seconds", "1", "--json"),
        *("--model", "no-such-model"),
        GRAYLAG_ENROLLMENT_TOKEN=up.facts["enrollment_token"],
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"].keys() == {"unknown_model"}
