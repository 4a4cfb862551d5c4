"""Stage, then flip: devices download ahead, and switch when a person says so."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.service.actors import (
    act,
    cohort,
    enrol,
    ok,
    publish,
    refused,
    roll_out,
    rollout,
    rows,
    set_up_once,
    stage,
    write,
)
from tests.service.test_rotation import Fleet, listening, until, updated

TOGETHER = {"activation": "together"}
HOLDS = {"features": ["hold"]}


def weights(number):
    return np.random.default_rng(number).integers(0, 256, 100_000, dtype=np.uint8).tobytes()


@pytest.fixture
@set_up_once
def two(live):
    """Two versions, the second on its way to everyone, to be switched to at once."""
    cohort(live)
    for number in (1, 2):
        publish(live, f"v{number}", weights(number))
    roll_out(live, "r", "v2", stage(hold={"reports": 2}), policy=TOGETHER)


def told(device, answer):
    """What the signed directive says of switching."""
    return device.directive(answer).ext.get("activation", "now")


def staged(live, *names):
    """Devices that have the bytes and wait."""
    devices = [enrol(live, name) for name in names]
    for device in devices:
        device.finish(device.poll("v1", **HOLDS)["attempt_id"], "staged")
    return devices


def test_a_device_that_can_is_told_to_stage_and_wait(two):
    device = enrol(two)
    answer = device.poll("v1", **HOLDS)
    assert (answer["action"], told(device, answer)) == ("install", "hold")
    assert answer["next_poll_s"] < two.settings.poll_interval_s / 2
    device.finish(answer["attempt_id"], "staged")
    again = device.poll("v1", **HOLDS)
    assert (again["attempt_id"], told(device, again)) == (answer["attempt_id"], "hold")


def test_a_device_that_cannot_wait_gets_it_when_the_others_switch(two):
    device = enrol(two)
    answer = device.poll("v1")
    assert (answer["need_update"], answer["reason"]) == (False, "awaits_activation")
    ok(act(two, "r", "activate"))
    assert device.poll("v1")["target_version"] == "v2"


def test_activate_lets_all_of_them_switch_with_the_attempt_that_they_have(two):
    first, second = staged(two, "d1", "d2")
    assert ok(act(two, "r", "activate", "the keynote begins"))["activated_at"]
    for device in (first, second):
        answer = device.poll("v1", **HOLDS)
        assert told(device, answer) == "now"
        device.finish(answer["attempt_id"], "committed")
    two.run_ticks()
    done = rollout(two, "r")
    assert done["state"] == "completed"
    assert done["stages"][0]["outcomes"]["offered"] == done["stages"][0]["outcomes"]["committed"] == 2
    late = enrol(two, "late")
    assert told(late, late.poll("v1", **HOLDS)) == "now"


def test_it_is_activated_once(two):
    ok(act(two, "r", "activate"))
    refused(act(two, "r", "activate"), 409, "wrong_state")


def test_stages_widen_as_devices_stage_and_nothing_completes_before_the_word(live):
    cohort(live)
    cohort(live, "internal", devices=["d1", "d2"])
    for number in (1, 2):
        publish(live, f"v{number}", weights(number))
    roll_out(
        live,
        "r",
        "v2",
        stage("internal", hold={"reports": 2}),
        stage(hold={"reports": 1}),
        policy=TOGETHER,
    )
    staged(live, "d1")
    live.run_ticks()
    assert rollout(live, "r")["stage"] == 0
    staged(live, "d2")
    live.run_ticks()
    assert rollout(live, "r")["stage"] == 1
    staged(live, "d3")
    live.run_ticks()
    live.run_ticks()
    waiting = rollout(live, "r")
    assert (waiting["state"], waiting["waits_for"].partition(":")[0]) == ("running", "activate")
    refused(act(live, "r", "promote", "go on"), 409, "wrong_state")
    assert ok(act(live, "r", "activate"))["waits_for"] == ""


def test_who_waits_is_not_silent_and_who_was_told_to_switch_is(two):
    staged(two, "d1")
    overdue = "update attempts set lease_until = now() - interval '1 hour'"
    write(two, overdue)
    two.run_ticks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["staged"]
    ok(act(two, "r", "activate"))
    two.run_ticks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["staged"]
    write(two, overdue)
    two.run_ticks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["timed_out"]


def test_who_never_staged_is_silent_as_ever(two):
    enrol(two).poll("v1", **HOLDS)
    write(two, "update attempts set lease_until = now() - interval '1 hour'")
    two.run_ticks()
    assert rollout(two, "r")["stages"][0]["outcomes"]["timed_out"] == 1


def test_nobody_switches_while_it_pauses(two):
    (device,) = staged(two, "d1")
    ok(act(two, "r", "activate"))
    ok(act(two, "r", "pause"))
    assert device.poll("v1", **HOLDS)["reason"] == "paused"
    ok(act(two, "r", "resume"))
    assert told(device, device.poll("v1", **HOLDS)) == "now"


def test_the_switch_waits_for_no_window_but_the_download_does(two):
    (device,) = staged(two, "d1")
    shut = (datetime.now(UTC) + timedelta(hours=2)).strftime("%H:00")
    later = (datetime.now(UTC) + timedelta(hours=3)).strftime("%H:00")
    policy = {**TOGETHER, "windows": {"zone": "UTC", "daily": [{"start": shut, "end": later}]}}
    write(two, "update rollouts set policy = cast(:policy as jsonb)", policy=json.dumps(policy))
    ok(act(two, "r", "activate"))
    assert device.poll("v1", **HOLDS)["reason"] == "outside_window"
    answer = device.poll("v1", staged_version="v2", **HOLDS)
    assert (answer["target_version"], told(device, answer)) == ("v2", "now")


def test_the_reference_client_waits_through_restarts_and_switches_at_the_word(two, tmp_path):
    with listening(two.settings) as port:
        fleet = Fleet(two, port, tmp_path)
        device = fleet.device("d1")
        ahead = until(lambda: (outcome := device.update()).bytes_downloaded and outcome)
        assert (ahead.status, ahead.reason, ahead.version) == ("waiting", "awaits_activation", None)
        for _ in range(2):
            again = device.update()
            assert (again.reason, again.bytes_downloaded) == ("awaits_activation", 0)
        assert device.installed() is None
        ok(act(two, "r", "activate"))
        done = updated(device, "v2")
        assert done.bytes_downloaded == 0
        states = [row["state"] for row in rows(two, "select state from events order by body->>'seq'")]
        assert states.count("staged") == 1


def test_a_device_that_patches_in_place_does_not_stage_ahead(two, tmp_path):
    with listening(two.settings) as port:
        device = Fleet(two, port, tmp_path).device("d1")
        device._settings = type(device._settings)(
            device._settings.files, device._settings.host, device._settings.limits, low_storage=True
        )
        until(lambda: device.update().reason == "awaits_activation")
        assert device.status()["attempt"] is None
