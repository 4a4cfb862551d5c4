"""The main job, as a stranger sees it first."""

import json
import os
import signal
import subprocess

from tests.journeys.conftest import BIN, family_of, run, wait_until

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


def test_every_device_in_a_cohort_ends_on_verified_bytes_of_the_better_model(open_dir):
    done = run("graylag", "demo", "--json", "--devices", "25", "--keep", open_dir / "demo")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.keys() >= FIELDS
    assert result["devices"] == 25
    assert result["failed"] == 0
    assert result["updated"] > 20
    assert result["saved_ratio"] >= 0.7
    assert result["accuracy_after"] > result["accuracy_before"]


def test_killed_in_the_middle_the_next_one_works(open_dir):
    place = open_dir / "demo"
    first = subprocess.Popen(
        [BIN / "graylag", "demo", "--json", "--devices", "5", "--keep", place],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    wait_until((place / "story" / "devices").exists, "the first devices")
    family = family_of(first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not any(process.is_running() for process in family[1:]), "the servers to end")
    again = run("graylag", "demo", "--json", "--devices", "5", "--keep", place)
    assert again.returncode == 0, again.stderr


def test_it_never_clears_a_directory_that_is_not_its_own(open_dir):
    (open_dir / "thesis.txt").write_text("years of work")
    done = run("graylag", "demo", "--json", "--keep", open_dir)
    assert done.returncode == 1
    assert "--keep" in done.stderr
    assert (open_dir / "thesis.txt").read_text() == "years of work"
