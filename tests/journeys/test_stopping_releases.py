"""Pause, disable and halt of a rollout to a list of testers; a scheduled rollout with a window."""

import json
from datetime import UTC, datetime, timedelta

from tests.journeys.conftest import Up
from tests.journeys.test_careful_releases import Releases, update
from tests.waiting import wait_until


def run(up: Up, *words: str) -> str:
    done = up.run("graylag", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pause_disable_and_halt_each_stop_offers_with_a_reason_for_the_device(up: Up, shared_dir):
    releases = Releases(up, "switch", shared_dir)
    releases.publish("v1", 1)
    tester, other = releases.enroll_device("inside"), releases.enroll_device("outside")
    ids = shared_dir / "testers.txt"
    ids.write_text("\n".join(["switch-inside", *(f"tester-{number}" for number in range(20_000))]))
    assert "20,001 listed" in run(up, "cohort", "put", "testers", "--devices", str(ids))
    nested = {"all": [{"cohort": "testers"}, {"not": {"attr": "user_group", "eq": "press"}}]}
    run(up, "cohort", "put", "careful", "--rule", json.dumps(nested))
    assert "careful: 1 device," in run(up, "cohort", "size", "careful")
    stages = [{"cohort": "careful", "percent": 100, "advance_when": {"reports": 9}}]
    releases.create_rollout("switch-v1", "v1", stages=stages)
    releases.run_action("start", "switch-v1")
    assert releases.run_action("pause", "switch-v1") == "switch-v1 is paused, stage 1 of 1\n"

    def wait_for_reason(reason: str) -> None:
        wait_until(lambda: update(up, tester)["reason"] == reason, f"the reason {reason}")

    wait_for_reason("paused")
    run(up, "model", "disable", "switch", "--reason", "rude answers")
    wait_for_reason("model_disabled")
    run(up, "model", "enable", "switch", "--reason", "false alarm")
    releases.run_action("resume", "switch-v1")
    wait_for_reason("update")
    assert update(up, other)["reason"] == "not_in_cohort"
    assert "[reason_required]" in releases.expect_error("halt", "switch-v1")
    assert "is halted" in releases.run_action("halt", "switch-v1", "--reason", "too slow on old chips")
    assert "resume applies to paused" in releases.expect_error("resume", "switch-v1")
    shown = releases.run_action("status", "switch-v1")
    assert "1 offered, 1 committed" in shown
    assert "too slow on old chips" in shown


def test_a_scheduled_rollout_starts_on_time_and_respects_its_window(up: Up, shared_dir):
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    releases = Releases(up, "dark", shared_dir)
    releases.publish("v1", 1)
    device = releases.enroll_device("phone")
    now = datetime.now(UTC)
    opens = now + timedelta(hours=2)
    window = {"start": f"{opens:%H:%M}", "end": f"{opens + timedelta(hours=1):%H:%M}"}
    policy = {
        "starts_at": (now + timedelta(seconds=10)).isoformat(),
        "windows": {"zone": "UTC", "daily": [window]},
    }
    releases.create_rollout("dark-v1", "v1", policy=policy)
    assert "waiting for start time" in releases.run_action("start", "dark-v1", "--reason", "release 5.4")
    assert releases.wait_for_state("dark-v1", "running")["history"][-1]["actor"] == "schedule"
    wait_until(lambda: update(up, device)["reason"] == "outside_window", "the reason outside_window")
    shown = run(up, "why", "dark-phone", "--model", "dark")
    assert "outside_window" in shown
    assert f"{opens:%H:%M}" in shown
