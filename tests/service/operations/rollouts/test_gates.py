from datetime import UTC, datetime, timedelta

import pytest

from service.domain.targeting.buckets import bucket
from service.infrastructure import database
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

DATA = b"gate weights"
FAILURES = {"metric": "failure_rate", "max": 0.05}
GOOD, BAD = {"soc": "good", "ram_mb": 8000}, {"soc": "bad", "ram_mb": 8000}
DEVICE_CLASS = "soc=bad,ram=8g"


@pytest.fixture
@set_up_once
def running(live):
    publish(live, "v1", DATA)
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[FAILURES], advance_when={"reports": 1000}))


def insert_counts(live, device_class, **counts):
    """Insert outcomes as if devices had reported them."""
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


def pause_bad_class(live):
    insert_counts(live, "soc=good,ram=8g", offered=60, committed=60)
    insert_counts(live, DEVICE_CLASS, offered=12, committed=4, failed=8)
    live.run_scheduled_tasks()


def test_attempts_are_counted_per_device_class(running):
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


def test_device_classes_beyond_the_limit_are_counted_as_one(running):
    for number in range(43):
        enroll(running, f"d{number}").poll(attributes={"soc": f"chip{number}"})
    found = actors.rows(
        running, "select device_class, count(*) as many from attempts group by 1 order by 2 desc, 1"
    )
    assert (found[0], len(found)) == ({"device_class": "other", "many": 3}, 41)


def test_a_failing_device_class_is_paused_and_the_others_continue(running):
    device = enroll(running, "open")
    attempt = device.poll(attributes=BAD)["attempt_id"]
    pause_bad_class(running)
    found = rollout(running, "r")
    assert (found["state"], found["paused_classes"]) == ("running", [DEVICE_CLASS])
    assert (found["history"][-1]["kind"], found["history"][-1]["actor"]) == ("pause_class", "gates")
    assert enroll(running, "b").poll(attributes=BAD)["reason"] == "device_class_paused"
    assert enroll(running, "g").poll(attributes=GOOD)["need_update"]
    row = actors.rows(running, "select state, code from attempts where id = cast(:id as uuid)", id=attempt)[0]
    assert (row["state"], row["code"]) == ("cancelled", "device_class_paused")
    assert gate_status(running)["evaluation"]["details"]["paused_classes"] == [DEVICE_CLASS]


def test_a_paused_class_gets_no_offer_even_from_a_process_with_an_old_snapshot(running):
    device = enroll(running, "late")
    insert_counts(running, "soc=good,ram=8g", offered=60, committed=60)
    insert_counts(running, DEVICE_CLASS, offered=12, committed=4, failed=8)
    row = actors.rows(running, "select id from rollouts")[0]
    with database.transaction(running.engine) as session:
        evaluation = gates.evaluate(session, row["id"], now=datetime.now(UTC))
    assert evaluation is not None
    assert evaluation.failing_classes
    assert device.poll(attributes=BAD)["reason"] == "device_class_paused"
    assert device.poll(attributes=GOOD)["need_update"]


def test_resuming_a_class_excludes_its_earlier_reports(running):
    pause_bad_class(running)
    path = "/v1/admin/rollouts/r/resume-class"
    refused(running.call("POST", path, {"device_class": "soc=none"}), 404, "not_found", "device_class")
    refused(running.call("POST", path, {"device_class": DEVICE_CLASS}, "viewer"), 403, "forbidden")
    resumed = ok(
        running.call(
            "POST", path, {"device_class": DEVICE_CLASS, "reason": "driver fixed"}, "release-manager"
        )
    )
    assert (resumed["paused_classes"], resumed["history"][-1]["reason"]) == (
        [],
        f"{DEVICE_CLASS}: driver fixed",
    )
    running.run_scheduled_tasks()
    assert rollout(running, "r")["paused_classes"] == []
    assert enroll(running, "b").poll(attributes=BAD)["need_update"]
    actors.write(
        running, "update outcome_rollups set failed = failed + 9 where device_class = :s", s=DEVICE_CLASS
    )
    running.run_scheduled_tasks()
    assert rollout(running, "r")["paused_classes"] == [DEVICE_CLASS]


def test_every_gate_evaluation_is_stored_with_its_counts(running):
    running.run_scheduled_tasks()
    running.run_scheduled_tasks()
    assert [evaluation["cause"] for evaluation in evaluations(running)] == ["reports"]
    insert_counts(running, "", offered=40, committed=30, failed=10)
    running.run_scheduled_tasks()
    last, first = evaluations(running)
    assert (first["decision"], last["decision"], last["cause"]) == ("wait", "breach", "gate:failure_rate")
    (result,) = last["details"]["gate_results"]
    assert (result["value"], result["bound"], result["reports"]) == (0.25, 0.05, 40)
    assert result["evidence"] >= result["threshold"]
    assert (last["details"]["coverage"], last["reason"]) == (1.0, "failure_rate 10/40 is above 5.00%")
    assert rollout(running, "r")["state"] == "halted"


def test_an_unchanged_gate_evaluation_is_stored_at_intervals(running):
    insert_counts(running, "", offered=10, committed=10)
    running.run_scheduled_tasks()
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


def test_a_draft_has_no_gate_evaluation(live):
    publish(live, "v1", DATA)
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    assert gate_status(live) == {"evaluation": None, "paused_classes": [], "metrics": {}}
    assert evaluations(live) == []


def test_the_status_compares_early_and_late_reports(running):
    early, late = enroll(running, "early"), enroll(running, "late")
    attempts = [device.poll()["attempt_id"] for device in (early, late)]
    early.finish(attempts[0], "committed")
    actors.write(
        running, "update attempts set offered_at = now() - interval '2 hours' where device_id = 'late'"
    )
    late.finish(attempts[1], "failed")
    running.run_scheduled_tasks()
    details = gate_status(running)["evaluation"]["details"]
    assert details["early"] == {"reports": 1, "failure_rate": 0.0}
    assert details["late"] == {"reports": 1, "failure_rate": 1.0}


def test_a_gate_on_an_unknown_metric_is_refused_with_the_known_names(running):
    wrong = stage(gates=[{"metric": "mood", "max": 3}])
    answer = create_rollout(running, "s", "v1", wrong)
    assert "load_ms" in refused(answer, 422, "invalid_gate", "stages.0.gates.0.metric")["detail"]
    device = enroll(running)
    device.finish(None, "metrics", metrics={"mood": 3})
    assert ok(create_rollout(running, "s", "v1", wrong))


def test_a_gate_against_control_needs_a_control_group(running):
    versus = [{"metric": "load_ms", "against": "control", "max_increase": 0.1}]
    refused(
        create_rollout(running, "s", "v1", stage(gates=versus)),
        422,
        "invalid_gate",
        "stages.0.gates.0.against",
    )
    assert ok(create_rollout(running, "s", "v1", stage(gates=versus), policy={"holdout_percent": 5}))
    assert ok(create_rollout(running, "t", "v1", stage(percent=10), stage(gates=versus)))


def test_a_metric_gate_against_control_stops_a_slow_version(live):
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
    live.run_scheduled_tasks()
    found = rollout(live, "r")
    assert found["state"] == "halted"
    assert found["reason"].startswith("load_ms is +9")
    measured = gate_status(live)["metrics"]["load_ms"]
    assert measured["treatment"]["devices"] + measured["control"]["devices"] == 60
    assert measured["treatment"]["geometric_mean"] == pytest.approx(203, rel=0.03)
    assert measured["control"]["geometric_mean"] == pytest.approx(103, rel=0.03)
