from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from service.domain.rollouts.lifecycle import TRANSITIONS
from service.domain.targeting.buckets import bucket
from tests.service.support import actors
from tests.service.support.actors import (
    act,
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

DATA = b"weights of the rollouts"
STATES = (
    "draft",
    "awaiting_approval",
    "scheduled",
    "running",
    "paused",
    "completed",
    "halted",
    "rolled_back",
    "cancelled",
)


@pytest.fixture
@set_up_once
def v1(live):
    """A published version."""
    publish(live, "v1", DATA)


def finish(live, count, state, start=0, **poll):
    """Devices that install the offered version and report the result."""
    for number in range(start, start + count):
        device = enroll(live, f"d{number}")
        device.finish(device.poll(**poll)["attempt_id"], state)


def test_a_version_that_is_not_ready_cannot_be_rolled_out(live):
    cohort(live)
    ok(actors.declare(live, actors.version_body("v1", actors.component(DATA))))
    refused(create_rollout(live, "r", "v1"), 409, "version_not_ready", "version")
    actors.upload_file(live, DATA)
    ok(actors.submit(live, "v1"))
    refused(create_rollout(live, "r", "v1"), 409, "version_not_ready", "version")
    live.run_jobs()
    ok(create_rollout(live, "r", "v1"))
    actors.write(live, "update versions set state = 'revoked'")
    refused(act(live, "r", "start"), 409, "version_not_ready", "version")


def test_a_rollout_needs_an_existing_model_version_and_cohort(live):
    cohort(live)
    refused(create_rollout(live, "r", "v1"), 404, "unknown_model", "model")
    publish(live, "v1", DATA)
    refused(create_rollout(live, "r", "v2"), 404, "not_found", "version")
    refused(create_rollout(live, "r", "v1", stage(), stage("absent")), 404, "not_found", "stages.1.cohort")
    refused(live.call("GET", "/v1/admin/rollouts/r"), 404, "not_found", "rollout")
    made = ok(create_rollout(live, "r", "v1"))
    refused(create_rollout(live, "r", "v1"), 409, "name_taken", "name")
    assert rollout(live, made["id"])["name"] == "r"
    assert [one["name"] for one in ok(live.call("GET", "/v1/admin/rollouts?model=m"))] == ["r"]
    assert ok(live.call("GET", "/v1/admin/rollouts?model=n")) == []
    refused(live.call("GET", "/v1/admin/rollouts/a%00b"), 422, "invalid")


@pytest.mark.parametrize(
    ("stages", "code", "field"),
    [
        ([stage(percent=0)], "invalid_stages", "stages.0.percent"),
        ([stage(percent=100.5)], "invalid_stages", "stages.0.percent"),
        ([stage(percent=10), stage(percent=10)], "invalid_stages", "stages.1.percent"),
        ([stage(gates=[{"metric": "mood", "max": 1}])], "invalid_gate", "stages.0.gates.0.metric"),
        ([stage(gates=[{"metric": "failure_rate", "max": 2}])], "invalid_gate", "stages.0.gates.0.max"),
        ([stage(advance_when={"minutes": -1})], "invalid", "stages.0.advance_when.minutes"),
        ([stage(n) for n in ["everyone"] * 21], "invalid", "stages"),
    ],
)
def test_invalid_stages_are_refused_with_their_field(live, stages, code, field):
    cohort(live)
    publish(live, "v1", DATA)
    refused(create_rollout(live, "r", "v1", *stages), 422, code, field)
    assert ok(live.call("GET", "/v1/admin/rollouts")) == []


def test_every_verb_applies_only_in_its_states(live):
    cohort(live)
    publish(live, "v1", DATA)
    for number, (verb, state) in enumerate(
        product(("start", "pause", "resume", "promote", "halt", "rollback", "cancel"), STATES)
    ):
        name = f"r{number}"
        ok(create_rollout(live, name, "v1", stage(percent=1), stage(percent=2), priority=number))
        actors.write(live, "update rollouts set state = :state where name = :name", state=state, name=name)
        answer = live.call("POST", f"/v1/admin/rollouts/{name}/{verb}", {"reason": "x"}, "release-manager")
        allowed, result = TRANSITIONS[verb]
        if state in allowed:
            assert (ok(answer)["state"], answer.json()["reason"]) == (result, "x")
        else:
            assert refused(answer, 409, "wrong_state")["state"] == state
            assert [event["kind"] for event in rollout(live, name)["history"]] == ["create"]
    refused(live.call("POST", "/v1/admin/rollouts/r0/explode", {}), 422, "invalid", "verb")


def test_stages_advance_on_reports_and_the_last_one_completes(live, v1):
    cohort(live)
    cohort(live, "internal", devices=["d0", "d1"])
    roll_out(
        live, "r", "v1", stage("internal", advance_when={"reports": 2}), stage(advance_when={"reports": 1})
    )
    outsider = enroll(live, "d9")
    finish(live, 1, "committed")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stage"] == 0
    assert outsider.poll()["reason"] == "not_in_stage"
    finish(live, 1, "committed", start=1)
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stage"] == 1
    outsider.finish(outsider.poll()["attempt_id"], "committed")
    live.run_scheduled_tasks()
    done = rollout(live, "r")
    assert (done["state"], [s["outcomes"]["committed"] for s in done["stages"]]) == ("completed", [2, 1])
    assert [event["kind"] for event in done["history"]] == ["create", "start", "advance", "complete"]
    assert enroll(live, "d10").poll()["need_update"]
    assert ok(live.client.get("/v1/model/info"))["version"] == "v1"


def test_a_stage_without_reports_does_not_advance(live, v1):
    cohort(live)
    roll_out(live, "r", "v1", stage(percent=50), stage())
    actors.write(live, "update rollouts set stage_since = now() - interval '30 days'")
    live.run_scheduled_tasks()
    assert (rollout(live, "r")["state"], rollout(live, "r")["stage"]) == ("running", 0)


def test_a_breach_halts_the_rollout_and_cancels_open_attempts(live, v1):
    cohort(live)
    gates = [{"metric": "failure_rate", "max": 0.01}]
    roll_out(live, "r", "v1", stage(gates=gates, advance_when={"reports": 100}))
    waiting = enroll(live, "slow")
    open_attempt = waiting.poll()["attempt_id"]
    finish(live, 2, "committed")
    finish(live, 2, "rolled_back", start=2)
    live.run_scheduled_tasks()
    halted = rollout(live, "r")
    assert (halted["state"], halted["reason"]) == ("halted", "failure_rate 2/4 is above 1.00%")
    assert halted["stages"][0]["outcomes"]["withdrawn"] == 1
    assert halted["history"][-1]["actor"] == "gates"
    answer = waiting.poll()
    assert (answer["reason"], answer.get("attempt_id")) == ("halted", None)
    state = actors.rows(live, "select state from attempts where id = cast(:id as uuid)", id=open_attempt)
    assert state[0]["state"] == "cancelled"
    assert ok(live.client.get("/v1/model/info"))["version"] is None


def test_a_single_failure_is_not_a_breach(live, v1):
    cohort(live)
    roll_out(
        live, "r", "v1", stage(gates=[{"metric": "failure_rate", "max": 0}], advance_when={"reports": 9})
    )
    finish(live, 1, "failed")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["state"] == "running"


def test_pausing_keeps_open_attempts_and_resuming_continues(live, v1):
    roll_out(live, "r", "v1")
    device, late = enroll(live, "d1"), enroll(live, "d2")
    attempt = device.poll()["attempt_id"]
    ok(act(live, "r", "pause", "lunch"))
    assert late.poll()["reason"] == "paused"
    device.finish(attempt, "committed")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stages"][0]["outcomes"]["committed"] == 1
    ok(act(live, "r", "resume"))
    assert late.poll()["need_update"]


def test_a_stage_waits_for_approval_and_the_last_one_completes(live, v1):
    cohort(live)
    hold = {"approval": True, "reports": 0}
    roll_out(live, "r", "v1", stage(percent=50, advance_when=hold), stage(advance_when=hold))
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stage"] == 0
    assert ok(act(live, "r", "promote"))["stage"] == 1
    live.run_scheduled_tasks()
    assert rollout(live, "r")["state"] == "running"
    assert ok(act(live, "r", "promote"))["state"] == "completed"


def test_an_attempt_times_out_when_its_lease_expires(live, v1):
    gates = [{"metric": "timeout_rate", "max": 0.05}]
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=gates, advance_when={"reports": 10}))
    for name in ("d1", "d2"):
        assert enroll(live, name).poll()["need_update"]
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stages"][0]["outcomes"]["timed_out"] == 0
    actors.write(live, "update attempts set lease_until = now() - interval '1 second'")
    live.run_scheduled_tasks()
    live.run_scheduled_tasks()
    assert rollout(live, "r")["stages"][0]["outcomes"]["timed_out"] == 2
    assert rollout(live, "r")["state"] == "halted"


def test_polling_renews_the_lease_of_an_open_attempt(live, v1):
    roll_out(live, "r", "v1")
    device = enroll(live)
    device.poll()
    actors.write(live, "update attempts set lease_until = now() + interval '1 minute'")
    device.poll()
    lease = actors.rows(live, "select lease_until from attempts")[0]["lease_until"]
    assert lease > datetime.now(UTC) + timedelta(seconds=live.settings.attempt_lease_s / 2)


def test_a_device_in_a_percentage_stays_in_when_it_grows(live, v1):
    cohort(live)
    roll_out(live, "r", "v1", stage(percent=30), stage(percent=60))
    salt = actors.rows(live, "select salt from rollouts")[0]["salt"]
    devices = [enroll(live, f"d{n}") for n in range(12)]
    first = {device.id for device in devices if device.poll()["need_update"]}
    assert first == {device.id for device in devices if bucket(salt, device.id) < 3000}
    ok(act(live, "r", "promote", "the lab has seen enough"))
    second = {device.id for device in devices if device.poll()["need_update"]}
    assert second == {device.id for device in devices if bucket(salt, device.id) < 6000}
    assert first <= second


def test_the_rollout_with_the_highest_priority_decides(live, v1):
    publish(live, "v2", DATA + b"2")
    cohort(live)
    roll_out(live, "low", "v2", stage())
    roll_out(live, "high", "v1", stage(), priority=5)
    assert enroll(live).poll()["rollout"] == "high"


def test_the_history_and_the_audit_log_record_actor_and_reason(live, v1):
    roll_out(live, "r", "v1")
    ok(act(live, "r", "pause", "lunch"))
    entries = ok(live.call("GET", "/v1/admin/audit"))
    last = entries[-1]
    assert (last["verb"], last["actor"], last["detail"]["reason"]) == (
        "rollout.pause",
        "release-manager",
        "lunch",
    )
    history = rollout(live, "r")["history"]
    assert [(event["kind"], event["reason"]) for event in history][-1] == ("pause", "lunch")


def test_a_completed_rollout_is_halted_by_late_failures(live, v1):
    cohort(live)
    roll_out(live, "r", "v1", stage(gates=[{"metric": "failure_rate", "max": 0.05}]))
    finish(live, 1, "committed")
    live.run_scheduled_tasks()
    assert rollout(live, "r")["state"] == "completed"
    finish(live, 6, "rolled_back", start=1)
    live.run_scheduled_tasks()
    assert rollout(live, "r")["state"] == "halted"
