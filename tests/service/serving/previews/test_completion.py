"""Forecasts of when a rollout completes."""

from tests.service.support.actors import enroll, flush, ok, publish, roll_out, stage

OLD, DATA = b"old weights", b"new weights"


def forecast(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/forecast", scope="viewer"))


def fleet(live, count=4):
    """Devices that have reported what they run."""
    devices = [enroll(live, f"o{number}") for number in range(count)]
    for device in devices:
        device.poll("v0")
    flush(live)
    return devices


def test_what_is_left_shrinks_as_devices_update(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    devices = fleet(live)
    roll_out(live, "r", "v1")
    before = forecast(live)
    assert (before["devices_left"], before["bytes_left"]) == (4, 4 * len(DATA))
    assert before["done_at"] is None
    for device in devices[:3]:
        device.finish(device.poll("v0")["attempt_id"], "committed")
        device.poll("v1")
    flush(live)
    after = forecast(live)
    assert (after["devices_left"], after["limited_by"]) == (1, "devices")
    assert after["done_at"] is not None


def test_a_bandwidth_budget_gives_a_forecast_before_the_first_device_polls(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    fleet(live)
    roll_out(live, "r", "v1", policy={"pacing": {"max_bytes_per_hour": 2 * len(DATA)}})
    found = forecast(live)
    assert (found["limited_by"], found["per_hour"]) == ("max_bytes_per_hour", 2)
    assert found["done_at"] is not None


def test_full_download_slots_limit_the_rollout(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    devices = fleet(live)
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    assert devices[0].poll("v0")["need_update"]
    assert forecast(live)["limited_by"] == "max_open_downloads"


def test_stages_that_are_not_open_count_as_later(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    fleet(live)
    ok(live.call("PUT", "/v1/admin/cohorts/first", {"devices": ["o0"]}))
    ok(live.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}}))
    roll_out(live, "r", "v1", stage("first"), stage("everyone"))
    found = forecast(live)
    assert (found["devices_left"], found["devices_later"]) == (1, 3)
