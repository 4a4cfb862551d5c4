"""The explanation of a device's next poll."""

import pytest

from tests.service.support import actors
from tests.service.support.actors import (
    cohort,
    enroll,
    explain,
    flush,
    ok,
    poll_and_explain,
    publish,
    refresh,
    refused,
    roll_out,
    set_up_once,
    stage,
)

DATA = b"weights of why"


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", DATA)


def test_the_explanation_lists_each_clause_with_the_value_of_the_device(live, v1):
    cohort(live, "vip", devices=["somebody"])
    cohort(live, "beta", {"all": [{"attr": "region", "eq": "cn-east"}, {"not": {"cohort": "vip"}}]})
    roll_out(live, "r", "v1", stage("beta"))
    device = enroll(live, region="us-east")
    poll_and_explain(live, device, attributes={"region": "us-east"})
    (evaluated,) = explain(live, device)["rollouts"][0]["stages"]
    assert [(clause["path"], clause["matches"], clause["value"]) for clause in evaluated["clauses"]] == [
        ("beta.all.0", False, "us-east"),
        ("beta.all.1.not: vip", False, None),
    ]


def test_the_explanation_lists_every_variant_and_the_selected_one(live):
    part = actors.component(DATA, "backbone")
    variants = [
        {
            "name": "int8",
            "selector": {"attr": "ram_mb", "gte": 8192},
            "priority": 1,
            "components": [part],
        },
        {"name": "int4", "components": [part]},
    ]
    ok(actors.declare(live, {"label": "v1", "variants": variants}))
    actors.upload_file(live, DATA)
    ok(actors.submit(live, "v1"))
    live.run_jobs()
    refresh(live)
    roll_out(live, "r", "v1")
    device = enroll(live)
    poll_and_explain(live, device, attributes={"ram_mb": 4096})
    variants = explain(live, device)["rollouts"][0]["variants"]
    assert [(variant["variant"], variant["matches"], variant["chosen"]) for variant in variants] == [
        ("int8", False, False),
        ("int4", True, True),
    ]
    assert variants[0]["clauses"][0]["value"] == 4096


def test_the_explanation_contains_the_reason_of_the_poll_and_each_stage(live):
    publish(live, "v1", DATA)
    cohort(live, "cn-east", {"attr": "region", "eq": "cn-east"})
    cohort(live, "all", {})
    roll_out(live, "r", "v1", stage("cn-east"), stage("all"))
    device = enroll(live, "abroad", region="us-east")
    polled = device.poll(attributes={"region": "us-east"})
    flush(live)
    explanation = ok(live.call("GET", "/v1/admin/devices/abroad/why"))
    assert explanation["reason"] == polled["reason"] == "not_in_stage"
    assert explanation["attributes"] == {"region": "us-east"}
    (trace,) = explanation["rollouts"]
    stages = [(s["in_cohort"], s["in_percent"], s["open"]) for s in trace["stages"]]
    assert stages == [(False, True, True), (True, True, False)]
    assert 0 <= trace["bucket"] < 10_000


def test_the_explanation_contains_the_newest_gate_evaluation(live):
    publish(live, "v1", DATA)
    cohort(live, "all", {})
    roll_out(live, "r", "v1", stage("all", percent=0.01, advance_when={"reports": 7}), stage("all"))
    enroll(live, "waiting", soc="a1")
    live.run_scheduled_tasks()
    gate = ok(live.call("GET", "/v1/admin/devices/waiting/why"))["rollouts"][0]["gate"]
    assert (gate["decision"], gate["reason"]) == ("wait", "0 of 7 reports")
    assert (gate["device_class"], gate["paused"]) == ("soc=a1", False)


def test_the_explanation_uses_the_attributes_that_an_operator_set(live):
    publish(live, "v1", DATA)
    cohort(live, "vip", {"attr": "user_group", "eq": "vip"})
    roll_out(live, "r", "v1", stage("vip"))
    enroll(live, "chosen")
    ok(live.call("PUT", "/v1/admin/devices/chosen/attributes", {"attributes": {"user_group": "vip"}}))
    refresh(live)
    explanation = ok(live.call("GET", "/v1/admin/devices/chosen/why"))
    assert (explanation["reason"], explanation["version"], explanation["rollout"]) == ("update", "v1", "r")


def test_explaining_an_unknown_device_is_refused(live):
    refused(live.call("GET", "/v1/admin/devices/nobody/why"), 404, "unknown_device")
