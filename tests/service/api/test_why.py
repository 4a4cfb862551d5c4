from tests.service.support.actors import cohort, enroll, flush, ok, publish, refresh, refused, roll_out, stage

DATA = b"weights of why"


def test_why_gives_the_reason_of_the_poll_and_the_way_there(live):
    publish(live, "v1", DATA)
    cohort(live, "cn-east", {"attr": "region", "eq": "cn-east"})
    cohort(live, "all", {})
    roll_out(live, "r", "v1", stage("cn-east"), stage("all"))
    device = enroll(live, "abroad", region="us-east")
    polled = device.poll(attributes={"region": "us-east"})
    flush(live)
    found = ok(live.call("GET", "/v1/admin/devices/abroad/why"))
    assert found["reason"] == polled["reason"] == "not_in_stage"
    assert found["attributes"] == {"region": "us-east"}
    (trace,) = found["rollouts"]
    seen = [(s["in_cohort"], s["in_percent"], s["open"]) for s in trace["stages"]]
    assert seen == [(False, True, True), (True, True, False)]
    assert 0 <= trace["bucket"] < 10_000


def test_why_shows_what_the_gates_wait_for(live):
    publish(live, "v1", DATA)
    cohort(live, "all", {})
    roll_out(live, "r", "v1", stage("all", percent=0.01, advance_when={"reports": 7}), stage("all"))
    enroll(live, "waiting", soc="a1")
    live.run_ticks()
    gate = ok(live.call("GET", "/v1/admin/devices/waiting/why"))["rollouts"][0]["gate"]
    assert (gate["decision"], gate["reason"]) == ("wait", "0 of 7 reports")
    assert (gate["device_class"], gate["paused"]) == ("soc=a1", False)


def test_an_operators_word_counts_in_why_as_in_the_poll(live):
    publish(live, "v1", DATA)
    cohort(live, "vip", {"attr": "user_group", "eq": "vip"})
    roll_out(live, "r", "v1", stage("vip"))
    enroll(live, "chosen")
    ok(live.call("PUT", "/v1/admin/devices/chosen/attributes", {"attributes": {"user_group": "vip"}}))
    refresh(live)
    found = ok(live.call("GET", "/v1/admin/devices/chosen/why"))
    assert (found["reason"], found["version"], found["rollout"]) == ("update", "v1", "r")


def test_a_device_that_never_enrolled_has_no_why(live):
    refused(live.call("GET", "/v1/admin/devices/nobody/why"), 404, "unknown_device")
