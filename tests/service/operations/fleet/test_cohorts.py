import sys
import time

import pytest

from tests.service.support import actors
from tests.service.support.actors import cohort, enroll, ok, publish, refused, roll_out, stage


def put(live, name, **body):
    return live.call("PUT", f"/v1/admin/cohorts/{name}", body, "release-manager")


def test_a_cohort_is_defined_by_a_rule_a_member_list_or_both(live):
    publish(live, "v1", b"cohorts")
    cohort(live, "c", {"attr": "soc", "eq": "x"}, devices=["d1", "d2", "d1"])
    assert ok(live.call("GET", "/v1/admin/cohorts/c"))["listed_devices"] == 2
    roll_out(live, "r", "v1", stage("c"))
    assert enroll(live, "d1").poll()["need_update"]
    third = enroll(live, "d3")
    assert third.poll()["reason"] == "not_in_cohort"
    assert third.poll(attributes={"soc": "x"})["need_update"]


def test_a_running_rollout_uses_a_changed_cohort(live):
    publish(live, "v1", b"cohorts")
    cohort(live, "c", devices=["d1"])
    roll_out(live, "r", "v1", stage("c"))
    device = enroll(live, "d2")
    assert device.poll()["reason"] == "not_in_cohort"
    cohort(live, "c", devices=["d1", "d2"])
    actors.refresh(live)
    assert device.poll()["need_update"]


def test_a_change_without_a_member_list_keeps_the_list(live):
    cohort(live, "c", devices=["d1"])
    assert ok(put(live, "c", rule={"attr": "soc", "eq": "x"}))["listed_devices"] == 1
    assert ok(put(live, "c", devices=[]))["listed_devices"] == 0


def test_a_long_member_list_is_accepted(live):
    assert cohort(live, "c", devices=[f"d{n}" for n in range(12_000)])["listed_devices"] == 12_000


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"attr": "ram_mb", "above": 1}, "rule"),
        ({"all": []}, "rule.all"),
        ({"any": [{}, {"attr": "a", "semver": "not a range"}]}, "rule.any.1.semver"),
        ({"cohort": "absent"}, "rule.cohort"),
        ({"cohort": "self"}, "rule.cohort"),
    ],
)
def test_an_invalid_rule_is_refused_with_its_field(live, rule, field):
    refused(put(live, "self", rule=rule), 422, "invalid_rule", field)
    refused(live.call("GET", "/v1/admin/cohorts/self"), 404, "not_found", "cohort")


def test_a_rule_nested_too_deeply_is_refused(live):
    rule: dict[str, object] = {}
    for _ in range(400):
        rule = {"not": rule}
    refused(put(live, "deep", rule=rule), 422, "invalid_rule")


def test_values_that_postgres_cannot_store_are_refused(live):
    headers = {"Authorization": f"Bearer {live.tokens['admin']}"}
    for value in (b"1e999", b"NaN", b'"\\u0000"', b'"\\ud800"'):
        body = b'{"rule": {"attr": "a", "eq": ' + value + b"}}"
        refused(live.client.put("/v1/admin/cohorts/c", content=body, headers=headers), 422, "invalid")


def test_cohorts_refer_to_each_other_but_not_in_a_cycle(live):
    publish(live, "v1", b"cohorts")
    cohort(live, "inner", devices=["d1"])
    cohort(live, "outer", {"all": [{"cohort": "inner"}, {"attr": "soc", "eq": "x"}]})
    refused(put(live, "inner", rule={"not": {"cohort": "outer"}}), 422, "invalid_rule")
    roll_out(live, "r", "v1", stage("outer"))
    device = enroll(live, "d1")
    assert device.poll()["reason"] == "not_in_cohort"
    assert device.poll(attributes={"soc": "x"})["need_update"]


def test_a_cohort_in_use_cannot_be_deleted(live):
    publish(live, "v1", b"cohorts")
    cohort(live, "inner", devices=["d1"])
    cohort(live, "outer", {"any": [{"cohort": "inner"}]})
    ok(actors.create_rollout(live, "r", "v1", stage("outer")))
    refused(live.call("DELETE", "/v1/admin/cohorts/outer"), 409, "still_in_use")
    refused(live.call("DELETE", "/v1/admin/cohorts/inner"), 409, "still_in_use")
    cohort(live, "free", devices=["d1"])
    ok(live.call("DELETE", "/v1/admin/cohorts/free"))
    refused(live.call("DELETE", "/v1/admin/cohorts/free"), 404, "not_found", "cohort")
    assert [one["name"] for one in ok(live.call("GET", "/v1/admin/cohorts"))] == ["inner", "outer"]
    assert actors.rows(live, "select 1 from cohort_members where cohort = 'free'") == []


def size(live, name):
    return ok(live.call("GET", f"/v1/admin/cohorts/{name}/size", scope="viewer"))


def test_the_size_of_a_cohort_is_its_current_number_of_devices(live):
    for number in range(6):
        enroll(live, f"d{number}", region="eu" if number % 2 else "us", ram_mb=number)
    cohort(live, "eu", {"attr": "region", "eq": "eu"})
    cohort(live, "testers", devices=["d0", "d1", "nobody"])
    cohort(live, "both", {"any": [{"cohort": "eu"}, {"cohort": "testers"}]})
    cohort(live, "small", {"all": [{"attr": "ram_mb", "lt": 3}, {"not": {"cohort": "testers"}}]})
    cohort(live)
    sizes = {name: size(live, name)["devices"] for name in ("eu", "testers", "both", "small", "everyone")}
    assert sizes == {"eu": 3, "testers": 2, "both": 4, "small": 1, "everyone": 6}
    ok(live.call("PUT", "/v1/admin/devices/d0/attributes", {"attributes": {"region": "eu"}}))
    assert size(live, "eu") == {"name": "eu", "devices": 4, "silent": 0}
    actors.write(live, "update devices set enrolled_at = now() - interval '8 days' where id in ('d0', 'd1')")
    assert size(live, "eu")["silent"] == 2, "enrolled a while ago, and never seen since"
    refused(live.call("GET", "/v1/admin/cohorts/absent/size"), 404, "not_found", "cohort")


def test_a_member_list_of_100_000_devices_is_accepted_in_one_request(live):
    ids = [f"device-{number:08}" for number in range(100_000)]
    enroll(live, ids[7])
    began = time.perf_counter()
    made = cohort(live, "testers", devices=ids)
    sys.stdout.write(f"\n100,000 ids: {time.perf_counter() - began:.2f} s\n")
    assert made["listed_devices"] == 100_000
    assert size(live, "testers")["devices"] == 1
