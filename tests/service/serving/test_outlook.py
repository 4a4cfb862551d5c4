from tests.service.actors import enrol, flush, ok, publish, roll_out, stage

OLD, DATA = b"weights of yesterday", b"weights of the outlook"


def outlook(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/outlook", scope="viewer"))


def fleet(live, count=4):
    """Devices that have said what they run."""
    devices = [enrol(live, f"o{number}") for number in range(count)]
    for device in devices:
        device.poll("v0")
    flush(live)
    return devices


def test_what_is_left_shrinks_as_devices_arrive(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    devices = fleet(live)
    roll_out(live, "r", "v1")
    before = outlook(live)
    assert (before["devices_left"], before["bytes_left"]) == (4, 4 * len(DATA))
    assert before["done_at"] is None
    for device in devices[:3]:
        device.finish(device.poll("v0")["attempt_id"], "committed")
        device.poll("v1")
    flush(live)
    after = outlook(live)
    assert (after["devices_left"], after["limited_by"]) == (1, "devices")
    assert after["done_at"] is not None


def test_a_budget_tells_the_end_before_anybody_has_come(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    fleet(live)
    roll_out(live, "r", "v1", policy={"pacing": {"bytes_per_hour": 2 * len(DATA)}})
    found = outlook(live)
    assert (found["limited_by"], found["per_hour"]) == ("bytes_per_hour", 2)
    assert found["done_at"] is not None


def test_full_places_are_what_limits_it(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    devices = fleet(live)
    roll_out(live, "r", "v1", policy={"pacing": {"open_downloads": 1}})
    assert devices[0].poll("v0")["need_update"]
    assert outlook(live)["limited_by"] == "open_downloads"


def test_stages_that_are_not_open_come_later(live):
    publish(live, "v0", OLD)
    publish(live, "v1", DATA)
    fleet(live)
    ok(live.call("PUT", "/v1/admin/cohorts/first", {"devices": ["o0"]}))
    ok(live.call("PUT", "/v1/admin/cohorts/everyone", {"rule": {}}))
    roll_out(live, "r", "v1", stage("first"), stage("everyone"))
    found = outlook(live)
    assert (found["devices_left"], found["devices_later"]) == (1, 3)
