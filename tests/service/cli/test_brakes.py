"""The kill switch, the penalty box, and why: as a release manager types them."""

from tests.service.actors import enrol, flush, publish, roll_out

DATA = b"weights of the typed brakes"


def test_a_model_is_killed_shown_and_revived(graylag):
    publish(graylag.live, "v1", DATA, watershed=True)
    assert "m" in graylag("model", "list")
    assert "served" in graylag("model", "list")
    assert graylag("model", "kill", "m", "--reason", "it says rude things").strip() == "m is killed"
    assert graylag.json("model", "show", "m")["killed"]
    shown = graylag("model", "show", "m")
    assert "m is killed" in shown
    assert "watershed" in shown
    assert "needs a reason" in graylag("model", "kill", "m", "--reason", " ", status=1)
    assert "[unknown_model]" in graylag("model", "show", "x", status=1)
    assert graylag("model", "revive", "m", "--reason", "mended").strip() == "m is served"


def test_a_device_is_forgiven_suspended_and_taken_back(graylag):
    publish(graylag.live, "v1", DATA)
    roll_out(graylag.live, "r", "v1")
    device = enrol(graylag.live, region="cn-east")
    for _ in range(3):
        device.finish(device.poll()["attempt_id"], "failed")
    assert device.poll()["reason"] == "penalty"
    forgiven = graylag("device", "forgive", "d1", "--model", "m", "--reason", "another battery")
    assert forgiven.strip() == "d1 may try again: m"
    assert device.poll()["need_update"]
    assert "cn-east" in graylag("device", "show", "d1")
    assert graylag("device", "suspend", "d1").strip() == "d1 is suspended"
    assert graylag("device", "accept", "d1").strip() == "d1 is accepted"
    assert [row["id"] for row in graylag.json("device", "list")] == ["d1"]
    assert "d1" in graylag("device", "list")


def test_why_is_told_in_lines(graylag):
    publish(graylag.live, "v1", DATA)
    policy = {
        "holdback_percent": 50,
        "pacing": {"open_downloads": 1, "bytes_per_hour": 10**9},
        "windows": {"zone": "Asia/Shanghai", "daily": [{"start": "00:00", "end": "12:00"}]},
    }
    roll_out(graylag.live, "r", "v1", policy=policy)
    device = enrol(graylag.live)
    polled = device.poll(attributes={"ram_mb": 4096})
    flush(graylag.live)
    told = graylag("why", "d1")
    assert f"reason {polled['reason']}" in told
    for part in (
        "r to v1 is running",
        "bucket",
        "held back",
        "Asia/Shanghai",
        "downloads open",
        "build default",
    ):
        assert part in told
    assert graylag.json("why", "d1")["reason"] == polled["reason"]


def test_status_tells_what_is_left(graylag):
    publish(graylag.live, "v1", DATA)
    device = enrol(graylag.live)
    device.poll()
    flush(graylag.live)
    roll_out(graylag.live, "r", "v1", policy={"pacing": {"bytes_per_hour": 10**6}})
    assert "left: 1 device," in graylag("rollout", "status", "r")
    assert graylag.json("rollout", "status", "r")["outlook"]["limited_by"] == "bytes_per_hour"
