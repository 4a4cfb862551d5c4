from datetime import UTC, datetime, timedelta

import pytest

from service import database
from service.domain.targeting.buckets import bucket
from service.operations.rollouts import gates
from tests.service.support import actors
from tests.service.support.actors import (
    cohort,
    create_rollout,
    enroll,
    ok,
    publish,
    refused,
    roll_out,
    rollout,
    set_up_once,
    stage,
)

DATA = b"weights of the gates"
FAILURES = {"metric": "failure_rate", "max": 0.05}
GOOD, BAD = {"soc": "good", "ram_mb": 8000}, {"soc": "bad", "ram_mb": 8000}
DEVICE_CLASS = "soc=bad,ram=8g"


@pytest.fixture
@set_up_once
def running(live):
    publish(live, "v1", DATA)
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[FAILURES], advance_when={"reports": 1000}))


def counted(live, device_class, **counts):
    """Outcomes as if devices had reported them."""
    columns = ", ".join(counts)
    values = ", ".join(f":{name}" for name in counts)
    actors.write(
        live,
        f"insert into outcome_rollups (rollout_id, stage, device_class, arm, minute, {columns}) "
        f"select id, 0, :device_class, 'treatment', now(), {values} from rollouts where name = 'r' "
        "on conflict (rollout_id, stage, device_class, arm, minute) do nothing",
        device_class=device_class,
        **counts,
    )


def gate_status(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/gates", scope="viewer"))


def evaluations(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/gate-history", scope="viewer"))


def hold_bad_devices_back(live):
    counted(live, "soc=good,ram=8g", offered=60, committed=60)
    counted(live, DEVICE_CLASS, offered=12, committed=4, failed=8)
    live.run_ticks()


def test_attempts_are_counted_by_the_class_of_their_device(running):
    for name, attributes in (("d1", GOOD), ("d2", BAD)):
        device = enroll(running, name)
        device.finish(device.poll(attributes=attributes)["attempt_id"], "committed")
    query = "select device_class, sum(offered) as offered, sum(committed) as committed from outcome_rollups group by 1 order by 1"
    found = [tuple(row.values()) for row in actors.rows(running, query)]
    assert found == [(DEVICE_CLASS, 1, 1), ("soc=good,ram=8g", 1, 1)]
    assert actors.rows(running, "select device_class from device_classes order by 1") == [
        {"device_class": DEVICE_CLASS},
        {"device_class": "soc=good,ram=8g"},
    ]


def test_past_forty_classes_all_others_are_one(running):
    for number in range(43):
        enroll(running, f"d{number}").poll(attributes={"soc": f"chip{number}"})
    found = actors.rows(
        running, "select device_class, count(*) as many from attempts group by 1 order by 2 desc, 1"
    )
    assert (found[0], len(found)) == ({"device_class": "other", "many": 3}, 41)


def test_a_failing_class_of_device_is_held_back_and_the_rest_goes_on(running):
    open_one = enroll(running, "open")
    attempt = open_one.poll(attributes=BAD)["attempt_id"]
    hold_bad_devices_back(running)
    found = rollout(running, "r")
    assert (found["state"], found["paused_classes"]) == ("running", [DEVICE_CLASS])
    assert (found["history"][-1]["kind"], found["history"][-1]["actor"]) == ("pause_class", "gates")
    assert enroll(running, "b").poll(attributes=BAD)["reason"] == "device_class_paused"
    assert enroll(running, "g").poll(attributes=GOOD)["need_update"]
    row = actors.rows(running, "select state, code from attempts where id = cast(:id as uuid)", id=attempt)[0]
    assert (row["state"], row["code"]) == ("cancelled", "device_class_paused")
    assert gate_status(running)["evaluation"]["details"]["paused_classes"] == [DEVICE_CLASS]


def test_nothing_is_offered_to_a_held_class_even_by_a_process_that_has_not_heard_of_it(running):
    device = enroll(running, "late")
    hold = gates.evaluate
    counted(running, "soc=good,ram=8g", offered=60, committed=60)
    counted(running, DEVICE_CLASS, offered=12, committed=4, failed=8)
    row = actors.rows(running, "select id from rollouts")[0]
    with database.transaction(running.engine) as session:
        assert hold(session, row["id"], now=datetime.now(UTC)).blamed
    assert device.poll(attributes=BAD)["reason"] == "device_class_paused"
    assert device.poll(attributes=GOOD)["need_update"]


def test_a_person_releases_a_class_and_what_it_reported_is_forgiven(running):
    hold_bad_devices_back(running)
    path = "/v1/admin/rollouts/r/resume-class"
    refused(running.call("POST", path, {"device_class": "soc=none"}), 404, "not_found", "device_class")
    refused(running.call("POST", path, {"device_class": DEVICE_CLASS}, "viewer"), 403, "forbidden")
    released = ok(
        running.call("POST", path, {"device_class": DEVICE_CLASS, "reason": "driver fixed"}, "release-manager")
    )
    assert (released["paused_classes"], released["history"][-1]["reason"]) == ([], f"{DEVICE_CLASS}: driver fixed")
    running.run_ticks()
    assert rollout(running, "r")["paused_classes"] == []
    assert enroll(running, "b").poll(attributes=BAD)["need_update"]
    actors.write(running, "update outcome_rollups set failed = failed + 9 where device_class = :s", s=DEVICE_CLASS)
    running.run_ticks()
    assert rollout(running, "r")["paused_classes"] == [DEVICE_CLASS]


def test_every_verdict_is_kept_with_the_counts_that_it_saw(running):
    running.run_ticks()
    running.run_ticks()
    assert [evaluation["cause"] for evaluation in evaluations(running)] == ["reports"]
    counted(running, "", offered=40, committed=30, failed=10)
    running.run_ticks()
    last, first = evaluations(running)
    assert (first["decision"], last["decision"], last["cause"]) == ("wait", "breach", "gate:failure_rate")
    (finding,) = last["details"]["gate_results"]
    assert (finding["value"], finding["bound"], finding["reports"]) == (0.25, 0.05, 40)
    assert finding["evidence"] >= finding["threshold"]
    assert (last["details"]["coverage"], last["reason"]) == (1.0, "failure_rate 10/40 is above 5.00%")
    assert rollout(running, "r")["state"] == "halted"


def test_a_verdict_that_stays_the_same_is_written_down_now_and_then(running):
    counted(running, "", offered=10, committed=10)
    running.run_ticks()
    row, now = actors.rows(running, "select id from rollouts")[0], datetime.now(UTC)
    for minutes, written in ((1, 1), (6, 1)):
        with database.transaction(running.engine) as session:
            gates.evaluate(session, row["id"], now=now + timedelta(minutes=minutes))
        assert len(evaluations(running)) == written
    actors.write(running, "update outcome_rollups set committed = 11")
    with database.transaction(running.engine) as session:
        gates.evaluate(session, row["id"], now=now + timedelta(minutes=6))
    assert [evaluation["reason"] for evaluation in evaluations(running)] == [
        "11 of 1000 reports",
        "10 of 1000 reports",
    ]


def test_a_draft_has_no_verdict(live):
    publish(live, "v1", DATA)
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    assert gate_status(live) == {"evaluation": None, "paused_classes": [], "metrics": {}}
    assert evaluations(live) == []


def test_how_early_and_late_reports_compare_is_shown(running):
    early, late = enroll(running, "early"), enroll(running, "late")
    attempts = [device.poll()["attempt_id"] for device in (early, late)]
    early.finish(attempts[0], "committed")
    actors.write(
        running, "update attempts set offered_at = now() - interval '2 hours' where device_id = 'late'"
    )
    late.finish(attempts[1], "failed")
    running.run_ticks()
    details = gate_status(running)["evaluation"]["details"]
    assert details["early"] == {"reports": 1, "failure_rate": 0.0}
    assert details["late"] == {"reports": 1, "failure_rate": 1.0}


def test_a_gate_on_what_nobody_measures_is_refused_with_what_is_known(running):
    wrong = stage(gates=[{"metric": "mood", "max": 3}])
    answer = create_rollout(running, "s", "v1", wrong)
    assert "load_ms" in refused(answer, 422, "invalid_gate", "stages.0.gates.0.metric")["detail"]
    device = enroll(running)
    device.finish(None, "metrics", metrics={"mood": 3})
    assert ok(create_rollout(running, "s", "v1", wrong))


def test_a_comparison_needs_somebody_to_compare_with(running):
    versus = [{"metric": "load_ms", "against": "control", "max_increase": 0.1}]
    refused(
        create_rollout(running, "s", "v1", stage(gates=versus)),
        422,
        "invalid_gate",
        "stages.0.gates.0.against",
    )
    assert ok(create_rollout(running, "s", "v1", stage(gates=versus), policy={"holdout_percent": 5}))
    assert ok(create_rollout(running, "t", "v1", stage(percent=10), stage(gates=versus)))


def test_measurements_of_both_arms_stop_a_slow_version(live):
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    cohort(live)
    slow = {"metric": "load_ms", "against": "control", "max_increase": 0.2, "min_values": 20}
    roll_out(live, "r", "v2", stage(percent=50, gates=[slow], advance_when={"reports": 1000}))
    salt = actors.rows(live, "select salt from rollouts")[0]["salt"]
    for number in range(60):
        device = enroll(live, f"d{number}")
        inside, jitter = bucket(salt, device.id) < 5000, number % 7
        if inside:
            attempt = device.poll("v1")["attempt_id"]
            device.finish(attempt, "committed", metrics={"load_ms": 200 + jitter})
        else:
            device.poll("v1")
            device.finish(None, "metrics", model="m", version="v1", metrics={"load_ms": 100 + jitter})
    live.run_ticks()
    found = rollout(live, "r")
    assert found["state"] == "halted"
    assert found["reason"].startswith("load_ms is +9")
    measured = gate_status(live)["metrics"]["load_ms"]
    assert measured["treatment"]["devices"] + measured["control"]["devices"] == 60
    assert measured["treatment"]["geometric_mean"] == pytest.approx(203, rel=0.03)
    assert measured["control"]["geometric_mean"] == pytest.approx(103, rel=0.03)
