"""Two stories of a release manager who stays near the switch: a list of testers, and a release after dark."""

import json
from datetime import UTC, datetime, timedelta

from tests.journeys.conftest import Up, wait_until
from tests.journeys.test_careful_releases import Line, update


def say(up: Up, *words: str) -> str:
    done = up.run("graylag", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_testers_by_list_and_a_hand_on_the_switch(up: Up, shared_dir):
    """Only who is on the list is asked; pause, kill and halt each stop it, and each says so to the device."""
    line = Line(up, "switch", shared_dir)
    line.publish("v1", 1)
    inside, outside = line.device("inside"), line.device("outside")
    ids = shared_dir / "testers.txt"
    ids.write_text("\n".join(["switch-inside", *(f"tester-{number}" for number in range(20_000))]))
    assert "20,001 listed" in say(up, "cohort", "put", "testers", "--devices", str(ids))
    nested = {"all": [{"cohort": "testers"}, {"not": {"attr": "user_group", "eq": "press"}}]}
    say(up, "cohort", "put", "careful", "--rule", json.dumps(nested))
    assert "careful: 1 device," in say(up, "cohort", "size", "careful")
    stages = [{"cohort": "careful", "percent": 100, "hold": {"reports": 9}}]
    line.write_down("switch-v1", "v1", stages=stages)
    line.say("start", "switch-v1")
    assert line.say("pause", "switch-v1") == "switch-v1 is paused, stage 1 of 1\n"

    def hears(reason: str) -> None:
        wait_until(lambda: update(up, inside)["reason"] == reason, f"the device to hear {reason}")

    hears("paused")
    say(up, "model", "kill", "switch", "--reason", "it is rude")
    hears("killed")
    say(up, "model", "revive", "switch", "--reason", "it was a prank")
    line.say("resume", "switch-v1")
    hears("update")
    assert update(up, outside)["reason"] == "not_in_cohort"
    assert "[reason_required]" in line.refused("halt", "switch-v1")
    assert "is halted" in line.say("halt", "switch-v1", "--reason", "too slow on old chips")
    assert "resume applies to paused" in line.refused("resume", "switch-v1")
    shown = line.say("status", "switch-v1")
    assert "1 offered, 1 committed" in shown
    assert "too slow on old chips" in shown


def test_a_release_after_dark(up: Up, shared_dir):
    """It starts by itself at its time; outside its window devices are told when to come."""
    up.api.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}})
    line = Line(up, "dark", shared_dir)
    line.publish("v1", 1)
    device = line.device("phone")
    now = datetime.now(UTC)
    opens = now + timedelta(hours=2)
    window = {"start": f"{opens:%H:%M}", "end": f"{opens + timedelta(hours=1):%H:%M}"}
    policy = {
        "starts_at": (now + timedelta(seconds=10)).isoformat(),
        "windows": {"zone": "UTC", "daily": [window]},
    }
    line.write_down("dark-v1", "v1", policy=policy)
    assert "it waits for its time" in line.say("start", "dark-v1", "--reason", "release 5.4")
    assert line.until("dark-v1", "running")["history"][-1]["actor"] == "schedule"
    wait_until(lambda: update(up, device)["reason"] == "outside_window", "the window to be heard of")
    told = say(up, "why", "dark-phone", "--model", "dark")
    assert "outside_window" in told
    assert f"{opens:%H:%M}" in told
