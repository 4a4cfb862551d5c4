"""`graylag demo`: the first thing that a new user runs."""

import json
import os
import signal
import subprocess

from tests.journeys.conftest import BIN, process_tree, run
from tests.waiting import wait_until

FIELDS = {
    "devices",
    "updated",
    "failed",
    "full_bytes",
    "sent_bytes",
    "saved_ratio",
    "accuracy_before",
    "accuracy_after",
    "seconds",
}


def test_a_demo_that_was_killed_runs_again_and_updates_its_devices(open_dir):
    directory = open_dir / "demo"
    first = subprocess.Popen(
        [BIN / "graylag", "demo", "--json", "--devices", "5", "--keep", directory],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    wait_until((directory / "work" / "devices").exists, "the first devices")
    processes = process_tree(first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not any(process.is_running() for process in processes[1:]), "the servers to end")
    done = run("graylag", "demo", "--json", "--devices", "25", "--keep", directory)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.keys() >= FIELDS
    assert result["devices"] == 25
    assert result["failed"] == 0
    assert result["updated"] > 20
    assert result["saved_ratio"] >= 0.7
    assert result["accuracy_after"] > result["accuracy_before"]


def test_a_directory_with_other_files_is_not_deleted(open_dir):
    (open_dir / "thesis.txt").write_text("years of work")
    done = run("graylag", "demo", "--json", "--keep", open_dir)
    assert done.returncode == 1
    assert "--keep" in done.stderr
    assert (open_dir / "thesis.txt").read_text() == "years of work"
