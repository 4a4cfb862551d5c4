"""Deferred activation: devices download and stage a version, and switch when a release manager activates it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.service.support.actors import (
    act,
    cohort,
    enroll,
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
from tests.service.support.live_fleet import Fleet, listening, random_weights, updated
from tests.waiting import wait_until

DEFERRED = {"activation": "deferred"}
SUPPORTED = {"features": ["deferred_activation"]}


@pytest.fixture
@set_up_once
def two(live):
    """Two versions; the second is being rolled out to all devices with deferred activation."""
    cohort(live)
    for number in (1, 2):
        publish(live, f"v{number}", random_weights(number))
    roll_out(live, "r", "v2", stage(advance_when={"reports": 2}), policy=DEFERRED)


def activation(device, response):
    """The activation in the signed directive."""
    return device.directive(response).ext.get("activation", "now")


def staged(live, *names):
    """Devices that have staged the version."""
    devices = [enroll(live, name) for name in names]
    for device in devices:
        device.finish(device.poll("v1", **SUPPORTED)["attempt_id"], "staged")
    return devices


def test_a_supporting_device_is_told_to_defer_activation(two):
    device = enroll(two)
    response = device.poll("v1", **SUPPORTED)
    assert (response["action"], activation(device, response)) == ("install", "deferred")
    assert response["next_poll_s"] < two.settings.poll_interval_s / 2
    device.finish(response["attempt_id"], "staged")
    again = device.poll("v1", **SUPPORTED)
    assert (again["attempt_id"], activation(device, again)) == (response["attempt_id"], "deferred")


def test_other_devices_get_the_version_at_activation(two):
    device = enroll(two)
    response = device.poll("v1")
    assert (response["need_update"], response["reason"]) == (False, "awaiting_activation")
    ok(act(two, "r", "activate"))
    assert device.poll("v1")["target_version"] == "v2"


def test_activation_lets_all_devices_switch_within_their_attempts(two):
    first, second = staged(two, "d1", "d2")
    assert ok(act(two, "r", "activate", "launch"))["activated_at"]
    for device in (first, second):
        response = device.poll("v1", **SUPPORTED)
        assert activation(device, response) == "now"
        device.finish(response["attempt_id"], "committed")
    two.run_scheduled_tasks()
    done = rollout(two, "r")
    assert done["state"] == "completed"
    assert done["stages"][0]["outcomes"]["offered"] == done["stages"][0]["outcomes"]["committed"] == 2
    late = enroll(two, "late")
    assert activation(late, late.poll("v1", **SUPPORTED)) == "now"


def test_a_rollout_is_activated_only_once(two):
    ok(act(two, "r", "activate"))
    refused(act(two, "r", "activate"), 409, "wrong_state")


def test_staged_devices_advance_stages_but_the_rollout_does_not_complete_before_activation(live):
    cohort(live)
    cohort(live, "internal", devices=["d1", "d2"])
    for number in (1, 2):
        publish(live, f"v{number}", random_weights(number))
    roll_out(
        live,
        "r",
        "v2",
        stage("internal", advance_when={"reports": 2}),
        stage(advance_when={"reports": 1}),
        policy=DEFERRED,
    )
    staged(live, "d1")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stage"] == 0
    staged(live, "d2")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stage"] == 1
    staged(live, "d3")
    live.run_scheduled_tasks()
    live.run_scheduled_tasks()
    found = rollout(live, "r")
    assert (found["state"], found["waiting_for"].partition(":")[0]) == ("running", "activation")
    refused(act(live, "r", "promote", "go on"), 409, "wrong_state")
    assert ok(act(live, "r", "activate"))["waiting_for"] == ""


def test_a_staged_device_does_not_time_out_before_activation_but_does_after_it(two):
    staged(two, "d1")
    overdue = "update attempts set lease_until = now() - interval '1 hour'"
    write(two, overdue)
    two.run_scheduled_tasks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["staged"]
    ok(act(two, "r", "activate"))
    two.run_scheduled_tasks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["staged"]
    write(two, overdue)
    two.run_scheduled_tasks()
    assert [row["state"] for row in rows(two, "select state from attempts")] == ["timed_out"]


def test_a_device_that_never_staged_times_out(two):
    enroll(two).poll("v1", **SUPPORTED)
    write(two, "update attempts set lease_until = now() - interval '1 hour'")
    two.run_scheduled_tasks()
    assert rollout(two, "r")["stages"][0]["outcomes"]["timed_out"] == 1


def test_no_device_switches_while_the_rollout_is_paused(two):
    (device,) = staged(two, "d1")
    ok(act(two, "r", "activate"))
    ok(act(two, "r", "pause"))
    assert device.poll("v1", **SUPPORTED)["reason"] == "paused"
    ok(act(two, "r", "resume"))
    assert activation(device, device.poll("v1", **SUPPORTED)) == "now"


def test_windows_limit_the_download_but_not_the_activation(two):
    (device,) = staged(two, "d1")
    start = (datetime.now(UTC) + timedelta(hours=2)).strftime("%H:00")
    end = (datetime.now(UTC) + timedelta(hours=3)).strftime("%H:00")
    policy = {**DEFERRED, "windows": {"zone": "UTC", "daily": [{"start": start, "end": end}]}}
    write(two, "update rollouts set policy = cast(:policy as jsonb)", policy=json.dumps(policy))
    ok(act(two, "r", "activate"))
    assert device.poll("v1", **SUPPORTED)["reason"] == "outside_window"
    response = device.poll("v1", staged_version="v2", **SUPPORTED)
    assert (response["target_version"], activation(device, response)) == ("v2", "now")


def download_of(outcome):
    """The outcome of an update, if it downloaded something."""
    return outcome if outcome.bytes_downloaded else None


def test_the_reference_client_stays_staged_through_restarts_and_switches_at_activation(two, tmp_path):
    with listening(two.settings) as port:
        fleet = Fleet(two, port, tmp_path)
        device = fleet.device("d1")
        staged_update = wait_until(lambda: download_of(device.update()), "the download")
        assert (staged_update.status, staged_update.reason, staged_update.version) == (
            "waiting",
            "awaiting_activation",
            None,
        )
        for _ in range(2):
            again = device.update()
            assert (again.reason, again.bytes_downloaded) == ("awaiting_activation", 0)
        assert device.installed() is None
        ok(act(two, "r", "activate"))
        done = updated(device, "v2")
        assert done.bytes_downloaded == 0
        states = [row["state"] for row in rows(two, "select state from events order by body->>'seq'")]
        assert states.count("staged") == 1


def test_a_device_that_patches_in_place_does_not_defer_activation(two, tmp_path):
    with listening(two.settings) as port:
        device = Fleet(two, port, tmp_path).device("d1")
        device._settings = type(device._settings)(
            device._settings.file_system,
            device._settings.host,
            device._settings.download_limits,
            low_storage=True,
        )
        wait_until(lambda: device.update().reason == "awaiting_activation", "the offer to be deferred")
        assert device.status()["attempt"] is None
