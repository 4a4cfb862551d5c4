from tests.service.support.actors import enroll, flush, publish, roll_out

POLICY = {
    "holdout_percent": 50,
    "pacing": {"max_open_downloads": 1, "max_bytes_per_hour": 10**9},
    "windows": {"zone": "Asia/Shanghai", "daily": [{"start": "00:00", "end": "12:00"}]},
}


def test_the_decision_for_a_device_is_explained_rollout_by_rollout(graylag):
    publish(graylag.live, "v1", b"weights of why")
    roll_out(graylag.live, "r", "v1", policy=POLICY)
    device = enroll(graylag.live)
    response = device.poll(attributes={"ram_mb": 4096})
    flush(graylag.live)
    shown = graylag("why", "d1")
    assert f"reason {response['reason']}" in shown
    for part in (
        "r to v1 is running",
        "bucket",
        "in the holdout of 50 %",
        "Asia/Shanghai",
        "downloads open",
        "variant default (priority 0)",
    ):
        assert part in shown
    assert graylag.json("why", "d1")["reason"] == response["reason"]
