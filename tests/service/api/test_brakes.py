"""What keeps a device from an offer, as devices and operators see it."""

from datetime import UTC, datetime, timedelta

import pytest

from service.domain.targeting.buckets import bucket
from tests.service.support import actors
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    flush,
    ok,
    publish,
    refresh,
    refused,
    roll_out,
    set_up_once,
    stage,
)

DATA = b"weights of the brakes"


@pytest.fixture
@set_up_once
def v1(live):
    """A version is published."""
    publish(live, "v1", DATA)


def why(live, device, model=None):
    return ok(live.call("GET", f"/v1/admin/devices/{device.id}/why" + (f"?model={model}" if model else "")))


def told(live, device, **poll):
    """The reason of the poll, which `why` has to give as well."""
    answer = device.poll(**poll)
    flush(live)
    assert why(live, device)["reason"] == answer["reason"]
    return answer


def fail(device, times, **poll):
    for _ in range(times):
        device.finish(device.poll(**poll)["attempt_id"], "failed", code="load_failed")


def daily(moment, lasts_min):
    end = moment + timedelta(minutes=lasts_min)
    return {"zone": "UTC", "daily": [{"start": f"{moment:%H:%M}", "end": f"{end:%H:%M}"}]}


# --- pace ----------------------------------------------------------------------------------------


SIZE = 2**20
HOUR = {"max_bytes_per_hour": 6 * 3 * SIZE}
"""A sixth of it, in five minutes, is three whole files."""


def test_what_a_device_fetched_because_its_patch_failed_is_taken_from_the_budget(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": HOUR})
    device = enroll(live, "d1")
    attempt = device.poll()["attempt_id"]
    device.report(device.event(attempt, "downloading", bytes=SIZE // 2))
    assert spent(live, device) == SIZE
    device.report(device.event(attempt, "downloading", bytes=SIZE + 1000))
    device.report(device.event(attempt, "downloaded", bytes=SIZE + 3000))
    assert spent(live, device) == SIZE + 3000
    assert told(live, enroll(live, "d2"))["need_update"]
    assert told(live, enroll(live, "d3"))["reason"] == "throttled"


def test_a_device_that_makes_up_what_it_fetched_takes_one_download_from_the_others_at_most(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": HOUR})
    device = enroll(live, "d1")
    attempt = device.poll()["attempt_id"]
    for told_bytes in (2**40, 2**41, 2**42):
        device.report(device.event(attempt, "downloading", bytes=told_bytes))
    assert spent(live, device) == 2 * SIZE
    assert told(live, enroll(live, "d2"))["need_update"]


def test_what_is_fetched_for_a_rollout_without_a_budget_is_charged_to_nobody(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 5}})
    device = enroll(live, "d1")
    device.report(device.event(device.poll()["attempt_id"], "downloaded", bytes=3 * SIZE))
    assert actors.rows(live, "select bytes from bandwidth_usage") == [{"bytes": SIZE}]


def spent(live, device):
    return why(live, device)["rollouts"][0]["pacing"]["bytes_last_hour"]


# --- windows --------------------------------------------------------------------------------------


def test_outside_a_window_the_next_poll_is_aimed_at_its_opening(live, v1):
    soon = datetime.now(UTC) + timedelta(minutes=20)
    roll_out(live, "r", "v1", policy={"windows": daily(soon, 120)})
    device = enroll(live)
    answer = told(live, device)
    assert (answer["reason"], answer["action"]) == ("outside_window", "none")
    assert 18 * 60 < answer["next_poll_s"] <= 3600
    window = why(live, device)["rollouts"][0]["window"]
    assert (window["open"], window["zone"]) == (False, "UTC")
    assert window["next_opening"].startswith(f"{soon:%Y-%m-%dT%H:%M}")


def test_a_window_in_the_devices_own_time(live, v1):
    now = datetime.now(UTC)
    shanghai = now + timedelta(hours=8) - timedelta(minutes=30)
    roll_out(live, "r", "v1", policy={"windows": daily(shanghai, 60) | {"zone": "device"}})
    assert told(live, enroll(live, "here"), attributes={"timezone": "Asia/Shanghai"})["need_update"]
    assert told(live, enroll(live, "also"), attributes={"utc_offset_min": 480})["need_update"]
    abroad = enroll(live, "abroad")
    assert told(live, abroad)["reason"] == "outside_window"
    assert why(live, abroad)["rollouts"][0]["window"]["source"] == "unknown, so UTC"


def test_a_window_that_never_opens_is_refused_by_name(live, v1):
    cohort(live)
    for windows, field in [
        ({"zone": "Mars/Olympus", "daily": [{"start": "01:00", "end": "02:00"}]}, "policy.windows.zone"),
        ({"daily": [{"start": "01:00", "end": "01:00"}]}, "policy.windows.daily.0.end"),
        ({"daily": [{"start": "01:00", "end": "02:00", "days": [9]}]}, "policy.windows.daily.0.days"),
    ]:
        refused(create_rollout(live, "r", "v1", policy={"windows": windows}), 422, "invalid_policy", field)


# --- holdout -------------------------------------------------------------------------------------


def test_the_control_group_gets_nothing_also_after_the_end(live, v1):
    roll_out(live, "r", "v1", policy={"holdout_percent": 50})
    salt = actors.rows(live, "select salt from rollouts")[0]["salt"]
    names = [f"h{number}" for number in range(40)]
    held = next(name for name in names if bucket(salt, name) >= 5000)
    free = next(name for name in names if bucket(salt, name) < 5000)
    control, treatment = enroll(live, held), enroll(live, free)
    assert told(live, control)["reason"] == "in_holdout"
    assert told(live, treatment)["need_update"]
    ok(act(live, "r", "promote", "enough"))
    assert actors.rollout(live, "r")["state"] == "completed"
    assert told(live, control)["reason"] == "in_holdout"
    trace = why(live, control)["rollouts"][0]
    assert (trace["in_holdout"], trace["holdout_percent"]) == (True, 50)


# --- barriers -----------------------------------------------------------------------------------


def test_nobody_skips_a_barrier(live):
    publish(live, "v1", DATA + b"1")
    assert publish(live, "v2", DATA + b"2", barrier=True)["barrier"]
    publish(live, "v3", DATA + b"3")
    roll_out(live, "newest", "v3")
    device = enroll(live)
    assert told(live, device, current_version="v1")["reason"] == "below_floor"
    assert why(live, device)["rollouts"][0]["barrier"] == "v2"
    roll_out(live, "step", "v2", priority=-1)
    assert told(live, device, current_version="v1")["target_version"] == "v2"
    assert told(live, device, current_version="v2")["target_version"] == "v3"


def test_a_version_is_a_barrier_from_its_declaration_on(live):
    publish(live, "v1", DATA, barrier=True)
    body = actors.version_body("v1", actors.component(DATA, "backbone"))
    refused(actors.declare(live, body), 409, "version_exists")
    assert ok(actors.declare(live, body | {"barrier": True}))["barrier"]


# --- the kill switch ------------------------------------------------------------------------------


def switch(live, verb, reason="it says rude things", scope="release-manager"):
    return live.call("POST", f"/v1/admin/models/m/{verb}", {"reason": reason}, scope)


def test_a_killed_model_gives_nothing_to_anybody(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    assert ok(switch(live, "disable"))["disabled"]
    refresh(live)
    answer = told(live, device, nonce=actors.nonce())
    assert (answer["reason"], answer["action"]) == ("model_disabled", "pause")
    assert device.directive(answer).action == "pause"
    assert not ok(switch(live, "enable"))["disabled"]
    refresh(live)
    assert told(live, device)["need_update"]
    verbs = [row["verb"] for row in actors.rows(live, "select verb from audit_log order by id")]
    assert verbs[-2:] == ["model.disable", "model.enable"]


def test_a_process_that_has_not_heard_of_the_kill_offers_nothing_either(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    ok(switch(live, "disable"))
    answer = device.poll()
    assert (answer["reason"], answer["action"]) == ("model_disabled", "pause")


def test_a_kill_needs_a_reason_and_a_release_manager(live, v1):
    refused(switch(live, "disable", reason=" "), 422, "reason_required", "reason")
    refused(switch(live, "disable", scope="publisher"), 403, "forbidden")
    refused(live.call("POST", "/v1/admin/models/x/disable", {"reason": "r"}), 404, "unknown_model")


# --- the penalty box ------------------------------------------------------------------------------


def test_a_device_that_failed_too_often_is_left_alone_and_why_says_so(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail(device, 3)
    assert told(live, device)["reason"] == "too_many_failures"
    assert why(live, device)["rollouts"][0]["failure_limit"] == {
        "failures": 3,
        "allowed": 3,
        "may_retry": False,
    }


def test_another_app_on_the_device_is_a_reason_to_try_again_and_the_device_is_told_that_it_may(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail(device, 3, attributes={"app_version": "5.1", "battery": 80})
    assert told(live, device, attributes={"app_version": "5.1", "battery": 20})["reason"] == "too_many_failures"
    answer = told(live, device, attributes={"app_version": "5.2"}, nonce=actors.nonce())
    assert answer["need_update"]
    assert device.directive(answer).ext == {"retry": True}


def test_a_first_try_is_no_retry(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    assert device.directive(device.poll(nonce=actors.nonce())).ext == {}
    fail(device, 1)
    assert device.directive(device.poll(nonce=actors.nonce())).ext == {}


def test_a_new_version_ends_the_penalty(live, v1):
    publish(live, "v2", DATA + b"2")
    roll_out(live, "r", "v1")
    device = enroll(live)
    fail(device, 3)
    assert told(live, device)["reason"] == "too_many_failures"
    roll_out(live, "s", "v2")
    assert told(live, device)["target_version"] == "v2"


def test_an_operator_forgives(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    path = "/v1/admin/devices/d1/clear-failures"
    refused(live.call("POST", path, {"reason": "r"}), 409, "conflict", "model")
    fail(device, 3)
    refused(live.call("POST", path, {"model": "m"}), 422, "reason_required", "reason")
    body = {"model": "m", "reason": "the shop has swapped its storage"}
    assert ok(live.call("POST", path, body, "release-manager"))["models"] == ["m"]
    answer = told(live, device, nonce=actors.nonce())
    assert answer["need_update"]
    assert device.directive(answer).ext == {"retry": True}
    fail(device, 3)
    assert told(live, device)["reason"] == "too_many_failures"
    ok(live.call("POST", path, body))
    assert told(live, device)["need_update"]


# --- pacing ---------------------------------------------------------------------------------------


def test_a_paced_rollout_lets_in_as_many_as_it_may(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 2}})
    first, second, third = (enroll(live, name) for name in ("p1", "p2", "p3"))
    answers = [told(live, device) for device in (first, second, third)]
    assert [answer["reason"] for answer in answers] == ["update", "update", "throttled"]
    assert 60 <= answers[2]["next_poll_s"] <= 3600
    assert first.poll()["attempt_id"] == answers[0]["attempt_id"], "an open attempt costs nothing again"
    found = why(live, third)
    assert found["rollouts"][0]["pacing"]["downloading"] == 2
    assert found["again_at"] is not None
    second.finish(answers[1]["attempt_id"], "failed")
    assert told(live, third)["need_update"]


def test_a_finished_download_makes_room_before_the_update_is_over(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    first, second = enroll(live, "p1"), enroll(live, "p2")
    attempt = first.poll()["attempt_id"]
    first.finish(attempt, "downloading")
    assert second.poll()["reason"] == "throttled"
    first.finish(attempt, "staged")
    assert second.poll()["need_update"]


def test_an_hours_bytes_are_not_exceeded(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_bytes_per_hour": 2 * len(DATA)}})
    answers = [told(live, enroll(live, f"p{number}")) for number in range(3)]
    assert [answer["reason"] for answer in answers] == ["update", "throttled", "throttled"]
    assert sum(row["bytes"] for row in actors.rows(live, "select bytes from bandwidth_usage")) == len(DATA)


def test_a_device_in_the_penalty_box_takes_no_place_from_others(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    broken = enroll(live, "broken")
    fail(broken, 3)
    assert broken.poll()["reason"] == "too_many_failures"
    assert enroll(live, "sound").poll()["need_update"]


def test_late_joiners_are_paced_like_everybody(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    assert enroll(live, "p1").poll()["need_update"]
    ok(act(live, "r", "promote", "enough"))
    assert actors.rollout(live, "r")["state"] == "completed"
    assert enroll(live, "p2").poll()["reason"] == "throttled"


def test_a_budget_below_one_download_is_refused_by_name(live, v1):
    cohort(live)
    body = {"pacing": {"max_bytes_per_hour": len(DATA) - 1}}
    refused(
        create_rollout(live, "r", "v1", policy=body), 422, "invalid_policy", "policy.pacing.max_bytes_per_hour"
    )


# --- why ------------------------------------------------------------------------------------------


def test_why_shows_each_clause_and_what_the_device_has(live, v1):
    cohort(live, "vip", devices=["somebody"])
    cohort(live, "beta", {"all": [{"attr": "region", "eq": "cn-east"}, {"not": {"cohort": "vip"}}]})
    roll_out(live, "r", "v1", stage("beta"))
    device = enroll(live, region="us-east")
    told(live, device, attributes={"region": "us-east"})
    (seen,) = why(live, device)["rollouts"][0]["stages"]
    assert [(clause["path"], clause["matches"], clause["seen"]) for clause in seen["clauses"]] == [
        ("beta.all.0", False, "us-east"),
        ("beta.all.1.not: vip", False, None),
    ]


def test_why_shows_every_build_and_which_one_is_chosen(live):
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
    told(live, device, attributes={"ram_mb": 4096})
    builds = why(live, device)["rollouts"][0]["variants"]
    assert [(build["variant"], build["matches"], build["chosen"]) for build in builds] == [
        ("int8", False, False),
        ("int4", True, True),
    ]
    assert builds[0]["clauses"][0]["seen"] == 4096
