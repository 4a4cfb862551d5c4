"""A virtual fleet, inside its own process and against a running server."""

import json
import os
import pty
import signal
import subprocess
import threading
from contextlib import suppress

import psutil

from tests.journeys.conftest import BIN, PATIENCE_S, family_of, run, wait_until

FIGURES = {
    "devices",
    "simulated_hours",
    "polls",
    "replayed",
    "unanswered",
    "unreachable",
    "offers",
    "bytes",
    "outcomes",
    "reasons",
    "statuses",
    "faults",
    "versions",
    "busiest_minute",
    "spike",
    "interrupted",
    "seconds",
    "cpu_s",
    "peak_mb",
}
DAY = """
hours: 24
poll_s: 7200
versions: {v1: 0.8, v0: 0.2}
networks: {wifi: {share: 0.8}, cellular: {share: 0.2, mbit_s: 12, loss: 0.02}}
stages: [{percent: 20, reports: 10, minutes: 60, max_failures: 0.2}, {percent: 100, max_failures: 0.2}]
pacing: {open_downloads: 0.2, an_hour: 0.2}
old_clients: 0.3
clock_skew_s: 30
"""


class _Screen(threading.Thread):
    """A terminal; read until its end, since who writes to a full one waits."""

    def __init__(self, end):
        super().__init__()
        self.end, self.text = end, b""
        self.start()

    def run(self):
        # What is behind a terminal has ended: EIO.
        with suppress(OSError):
            while read := os.read(self.end, 65536):
                self.text += read
        os.close(self.end)


def test_a_day_of_a_rollout_ends_with_one_json_object_and_within_all_bounds(tmp_path):
    (tmp_path / "day.yaml").write_text(DAY)
    done = run(
        *("graylag", "simulate", "--in-process", "--devices", "200", "--json"),
        *("--scenario", tmp_path / "day.yaml"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result.keys() == FIGURES | {"rollout", "story", "bounds"}
    assert result["versions"] == {"v2": 200}
    assert result["rollout"] == "completed, stage 2 of 2"
    assert [one["what"] for one in result["story"]] == ["created", "start", "advance", "complete"]
    assert result["bounds"]["exceeded"] == []
    assert 0 < result["bounds"]["bytes_per_hour"]["most"] <= result["bounds"]["bytes_per_hour"]["bound"]
    assert 0 < result["bounds"]["open_downloads"]["most"] <= 40
    assert result["replayed"] > 0 < result["unanswered"]


def test_ctrl_c_ends_a_fleet_that_is_being_watched_with_the_result_so_far_and_leaves_no_process(tmp_path):
    (tmp_path / "years.yaml").write_text("hours: 2000\npoll_s: 600\n")
    watching, shown = pty.openpty()
    process = subprocess.Popen(
        [BIN / "graylag", "simulate", "--in-process", "--scenario", tmp_path / "years.yaml", "--json"],
        stdout=subprocess.PIPE,
        stderr=shown,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
    )
    os.close(shown)
    seen = _Screen(watching)
    wait_until(lambda: b"up_to_date" in seen.text or b"no_rollout" in seen.text, "figures on the screen")
    family = family_of(process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_S)
    seen.join()
    result = json.loads(said)
    assert process.returncode == 130
    assert result["interrupted"]
    assert result["polls"] > 0
    assert 0 < result["simulated_hours"] < 2000
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_a_running_server_is_driven_at_the_rate_and_understands_the_requests_of_earlier_releases(
    up, tmp_path
):
    up.api.call("PUT", "/v1/admin/models/simulated", {})
    (tmp_path / "old.yaml").write_text("model: simulated\nold_clients: 0.5\n")
    done = up.run(
        *("graylag", "simulate", "--devices", "60", "--rate", "30", "--seconds", "4", "--json"),
        *("--scenario", tmp_path / "old.yaml"),
        GRAYLAG_ENROLMENT_TOKEN=up.facts["enrolment_token"],
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result.keys() == FIGURES | {"polls_per_s", "p99_ms"}
    assert 0 < result["polls_per_s"] <= 31
    assert result["statuses"] == {"200": result["polls"]}
    assert 0 < result["replayed"] < result["polls"]
    assert result["unreachable"] == 0


def test_a_model_that_the_server_does_not_have_is_named_in_the_result(up, tmp_path):
    done = up.run(
        *("graylag", "simulate", "--devices", "5", "--rate", "20", "--seconds", "1", "--json"),
        *("--model", "no-such-model"),
        GRAYLAG_ENROLMENT_TOKEN=up.facts["enrolment_token"],
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["faults"].keys() == {"unknown_model"}
