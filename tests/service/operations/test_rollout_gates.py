from datetime import UTC, datetime, timedelta

import pytest

from service import database
from service.domain.cohorts import bucket
from service.operations import rollout_gates
from tests.service import actors
from tests.service.actors import (
    cohort,
    create_rollout,
    enrol,
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
STRATUM = "soc=bad,ram=8g"


@pytest.fixture
@set_up_once
def running(live):
    publish(live, "v1", DATA)
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[FAILURES], hold={"reports": 1000}))


def counted(live, stratum, **counts):
    """Outcomes as if devices had reported them."""
    columns = ", ".join(counts)
    values = ", ".join(f":{name}" for name in counts)
    actors.write(
        live,
        f"insert into rollups (rollout_id, stage, stratum, arm, minute, {columns}) "
        f"select id, 0, :stratum, 'treated', now(), {values} from rollouts where name = 'r' "
        "on conflict (rollout_id, stage, stratum, arm, minute) do nothing",
        stratum=stratum,
        **counts,
    )


def gates(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/gates", scope="viewer"))


def verdicts(live, name="r"):
    return ok(live.call("GET", f"/v1/admin/rollouts/{name}/verdicts", scope="viewer"))


def hold_bad_devices_back(live):
    counted(live, "soc=good,ram=8g", offered=60, committed=60)
    counted(live, STRATUM, offered=12, committed=4, failed=8)
    live.run_ticks()


def test_attempts_are_counted_by_the_class_of_their_device(running):
    for name, attributes in (("d1", GOOD), ("d2", BAD)):
        device = enrol(running, name)
        device.finish(device.poll(attributes=attributes)["attempt_id"], "committed")
    query = "select stratum, sum(offered) as offered, sum(committed) as committed from rollups group by 1 order by 1"
    found = [tuple(row.values()) for row in actors.rows(running, query)]
    assert found == [(STRATUM, 1, 1), ("soc=good,ram=8g", 1, 1)]
    assert actors.rows(running, "select stratum from strata order by 1") == [
        {"stratum": STRATUM},
        {"stratum": "soc=good,ram=8g"},
    ]


def test_past_forty_classes_all_others_are_one(running):
    for number in range(43):
        enrol(running, f"d{number}").poll(attributes={"soc": f"chip{number}"})
    found = actors.rows(
        running, "select stratum, count(*) as many from attempts group by 1 order by 2 desc, 1"
    )
    assert (found[0], len(found)) == ({"stratum": "other", "many": 3}, 41)


def test_a_failing_class_of_device_is_held_back_and_the_rest_goes_on(running):
    open_one = enrol(running, "open")
    attempt = open_one.poll(attributes=BAD)["attempt_id"]
    hold_bad_devices_back(running)
    found = rollout(running, "r")
    assert (found["state"], found["held"]) == ("running", [STRATUM])
    assert (found["history"][-1]["kind"], found["history"][-1]["actor"]) == ("hold_stratum", "gates")
    assert enrol(running, "b").poll(attributes=BAD)["reason"] == "stratum_held"
    assert enrol(running, "g").poll(attributes=GOOD)["need_update"]
    row = actors.rows(running, "select state, code from attempts where id = cast(:id as uuid)", id=attempt)[0]
    assert (row["state"], row["code"]) == ("cancelled", "stratum_held")
    assert gates(running)["verdict"]["figures"]["held"] == [STRATUM]


def test_nothing_is_offered_to_a_held_class_even_by_a_process_that_has_not_heard_of_it(running):
    device = enrol(running, "late")
    hold = rollout_gates.evaluate
    counted(running, "soc=good,ram=8g", offered=60, committed=60)
    counted(running, STRATUM, offered=12, committed=4, failed=8)
    row = actors.rows(running, "select id from rollouts")[0]
    with database.transaction(running.engine) as session:
        assert hold(session, row["id"], now=datetime.now(UTC)).blamed
    assert device.poll(attributes=BAD)["reason"] == "stratum_held"
    assert device.poll(attributes=GOOD)["need_update"]


def test_a_person_releases_a_class_and_what_it_reported_is_forgiven(running):
    hold_bad_devices_back(running)
    path = "/v1/admin/rollouts/r/release"
    refused(running.call("POST", path, {"stratum": "soc=none"}), 404, "not_found", "stratum")
    refused(running.call("POST", path, {"stratum": STRATUM}, "viewer"), 403, "forbidden")
    released = ok(
        running.call("POST", path, {"stratum": STRATUM, "reason": "driver fixed"}, "release-manager")
    )
    assert (released["held"], released["history"][-1]["reason"]) == ([], f"{STRATUM}: driver fixed")
    running.run_ticks()
    assert rollout(running, "r")["held"] == []
    assert enrol(running, "b").poll(attributes=BAD)["need_update"]
    actors.write(running, "update rollups set failed = failed + 9 where stratum = :s", s=STRATUM)
    running.run_ticks()
    assert rollout(running, "r")["held"] == [STRATUM]


def test_every_verdict_is_kept_with_the_counts_that_it_saw(running):
    running.run_ticks()
    running.run_ticks()
    assert [verdict["cause"] for verdict in verdicts(running)] == ["reports"]
    counted(running, "", offered=40, committed=30, failed=10)
    running.run_ticks()
    last, first = verdicts(running)
    assert (first["outcome"], last["outcome"], last["cause"]) == ("hold", "breach", "gate:failure_rate")
    (finding,) = last["figures"]["findings"]
    assert (finding["value"], finding["bound"], finding["reports"]) == (0.25, 0.05, 40)
    assert finding["evidence"] >= finding["needed"]
    assert (last["figures"]["coverage"], last["reason"]) == (1.0, "failure_rate 10/40 is above 5.00%")
    assert rollout(running, "r")["state"] == "halted"


def test_a_verdict_that_stays_the_same_is_written_down_now_and_then(running):
    counted(running, "", offered=10, committed=10)
    running.run_ticks()
    row, now = actors.rows(running, "select id from rollouts")[0], datetime.now(UTC)
    for minutes, written in ((1, 1), (6, 1)):
        with database.transaction(running.engine) as session:
            rollout_gates.evaluate(session, row["id"], now=now + timedelta(minutes=minutes))
        assert len(verdicts(running)) == written
    actors.write(running, "update rollups set committed = 11")
    with database.transaction(running.engine) as session:
        rollout_gates.evaluate(session, row["id"], now=now + timedelta(minutes=6))
    assert [verdict["reason"] for verdict in verdicts(running)] == [
        "11 of 1000 reports",
        "10 of 1000 reports",
    ]


def test_a_draft_has_no_verdict(live):
    publish(live, "v1", DATA)
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    assert gates(live) == {"verdict": None, "held": [], "measured": {}}
    assert verdicts(live) == []


def test_how_early_and_late_reports_compare_is_shown(running):
    early, late = enrol(running, "early"), enrol(running, "late")
    attempts = [device.poll()["attempt_id"] for device in (early, late)]
    early.finish(attempts[0], "committed")
    actors.write(
        running, "update attempts set offered_at = now() - interval '2 hours' where device_id = 'late'"
    )
    late.finish(attempts[1], "failed")
    running.run_ticks()
    figures = gates(running)["verdict"]["figures"]
    assert figures["early"] == {"reports": 1, "failure_rate": 0.0}
    assert figures["late"] == {"reports": 1, "failure_rate": 1.0}


def test_a_gate_on_what_nobody_measures_is_refused_with_what_is_known(running):
    wrong = stage(gates=[{"metric": "mood", "max": 3}])
    answer = create_rollout(running, "s", "v1", wrong)
    assert "load_ms" in refused(answer, 422, "invalid_gate", "stages.0.gates.0.metric")["detail"]
    device = enrol(running)
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
    assert ok(create_rollout(running, "s", "v1", stage(gates=versus), policy={"holdback_percent": 5}))
    assert ok(create_rollout(running, "t", "v1", stage(percent=10), stage(gates=versus)))


def test_measurements_of_both_arms_stop_a_slow_version(live):
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    cohort(live)
    slow = {"metric": "load_ms", "against": "control", "max_increase": 0.2, "min_values": 20}
    roll_out(live, "r", "v2", stage(percent=50, gates=[slow], hold={"reports": 1000}))
    salt = actors.rows(live, "select salt from rollouts")[0]["salt"]
    for number in range(60):
        device = enrol(live, f"d{number}")
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
    measured = gates(live)["measured"]["load_ms"]
    assert measured["treated"]["devices"] + measured["control"]["devices"] == 60
    assert measured["treated"]["typical"] == pytest.approx(203, rel=0.03)
    assert measured["control"]["typical"] == pytest.approx(103, rel=0.03)
