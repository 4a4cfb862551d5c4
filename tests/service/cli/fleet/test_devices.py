from tests.service.support.actors import enroll, publish, roll_out

DATA = b"weights of the device commands"


def test_failures_of_a_device_are_cleared(graylag):
    publish(graylag.live, "v1", DATA)
    roll_out(graylag.live, "r", "v1")
    device = enroll(graylag.live, region="cn-east")
    for _ in range(3):
        device.finish(device.poll()["attempt_id"], "failed")
    assert device.poll()["reason"] == "too_many_failures"
    cleared = graylag("device", "clear-failures", "d1", "--model", "m", "--reason", "new battery")
    assert cleared.strip() == "d1 may retry: m"
    assert device.poll()["need_update"]


def test_a_device_is_shown_suspended_and_accepted_again(graylag):
    enroll(graylag.live, region="cn-east")
    assert "cn-east" in graylag("device", "show", "d1")
    assert graylag("device", "suspend", "d1").strip() == "d1 is suspended"
    assert graylag("device", "accept", "d1").strip() == "d1 is accepted"
    assert [row["id"] for row in graylag.json("device", "list")] == ["d1"]
    assert "d1" in graylag("device", "list")


def test_an_empty_fleet_is_shown_with_the_next_step(graylag):
    assert "graylag token create-enrollment" in graylag("device", "list")
