"""Starting rollouts: approvals, start time and rollback patches."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

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
    rows,
    set_up_once,
    stage,
)

DATA = b"weights of the starts"


def weights(number):
    """Weights of one fine-tune, whose versions are similar enough for patches."""
    data = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8)
    data[number * 100 : number * 100 + 50] ^= 0x55
    return data.tobytes()


@pytest.fixture
@set_up_once
def one(live):
    """A version, and a cohort of all devices."""
    cohort(live)
    publish(live, "v1", DATA)


@pytest.fixture
def people(one):
    """Release managers besides the author of the rollouts."""
    for name in ("ana", "bo"):
        made = one.call("POST", "/v1/admin/tokens", {"name": name, "scope": "release-manager"})
        one.tokens[name] = ok(made)["token"]
    return one


def approve(live, person, name="r", reason="looks right"):
    return live.call("POST", f"/v1/admin/rollouts/{name}/approve", {"reason": reason}, person)


def later(**span):
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def event_kinds(live, name="r"):
    return [event["kind"] for event in rollout(live, name)["history"]]


def test_a_rollout_without_approvals_starts_at_once(one):
    assert roll_out(one, "r", "v1", stage())["state"] == "running"
    assert rollout(one, "r")["approvals"] == []


def test_the_last_required_approval_starts_the_rollout(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 2}))
    waiting = ok(act(people, "r", "start", "release 5.4"))
    assert waiting["state"] == "awaiting_approval"
    assert waiting["waiting_for"] == "approval by 2 of 2 people other than release-manager"
    first = ok(approve(people, "ana"))
    assert (first["state"], first["waiting_for"]) == (
        "awaiting_approval",
        "approval by 1 of 2 people other than release-manager",
    )
    assert enroll(people).poll()["need_update"] is False
    last = ok(approve(people, "bo"))
    assert (last["state"], last["waiting_for"]) == ("running", "")
    assert [(given["actor"], given["reason"]) for given in last["approvals"]] == [
        ("ana", "looks right"),
        ("bo", "looks right"),
    ]
    assert event_kinds(people) == ["create", "submit", "approve", "approve", "start"]
    refused(approve(people, "admin"), 409, "wrong_state")


def test_a_person_approves_neither_their_own_rollout_nor_twice(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 2}))
    refused(approve(people, "ana"), 409, "wrong_state")
    ok(act(people, "r", "start"))
    own = refused(approve(people, "release-manager"), 403, "self_approval", "actor")
    assert "another person" in own["detail"]
    ok(approve(people, "ana"))
    again = refused(approve(people, "ana"), 409, "already_approved", "actor")
    assert "different people" in again["detail"]
    assert rollout(people, "r")["state"] == "awaiting_approval"
    refused(act(people, "r", "start"), 409, "wrong_state")
    refused(approve(people, "publisher"), 403, "forbidden")


def token_of(live, person, name):
    body = {"name": name, "scope": "release-manager", "person": person}
    live.tokens[name] = ok(live.call("POST", "/v1/admin/tokens", body))["token"]


def test_all_tokens_of_one_person_count_as_one_approver(people):
    token_of(people, "release-manager", "the-authors-other")
    token_of(people, "ana", "anas-other")
    token_of(people, "carla", "carlas")
    ok(create_rollout(people, "r", "v1", policy={"approvals": 2}))
    ok(act(people, "r", "start"))
    own = refused(approve(people, "the-authors-other"), 403, "self_approval", "actor")
    assert "release-manager (token the-authors-other) has written this" in own["detail"]
    ok(approve(people, "anas-other"))
    again = refused(approve(people, "ana"), 409, "already_approved", "actor")
    assert "ana has approved this rollout already" in again["detail"]
    assert ok(approve(people, "carlas"))["state"] == "running"


def test_a_person_who_changed_a_draft_cannot_approve_it(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 1}))
    config = ok(people.call("GET", "/v1/admin/config"))
    (draft,) = config["rollouts"]
    draft["stages"][0]["percent"] = 50
    ok(people.call("PUT", "/v1/admin/config", {"rollouts": [draft]}, "ana"))
    ok(act(people, "r", "start"))
    refused(approve(people, "ana"), 403, "self_approval", "actor")
    assert ok(approve(people, "bo"))["state"] == "running"


def test_a_rollout_that_waits_for_approval_can_be_cancelled(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 1}))
    ok(act(people, "r", "start"))
    assert ok(act(people, "r", "cancel"))["state"] == "cancelled"
    refused(approve(people, "ana"), 409, "wrong_state")


def test_an_approved_rollout_waits_for_its_start_time(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 1, "starts_at": later(hours=2)}))
    ok(act(people, "r", "start"))
    waiting = ok(approve(people, "ana"))
    assert waiting["state"] == "scheduled"
    assert waiting["waiting_for"].startswith("start time 20")


def test_a_scheduled_rollout_starts_at_its_start_time(one):
    ok(create_rollout(one, "r", "v1", policy={"starts_at": later(hours=1)}))
    assert ok(act(one, "r", "start", "tonight"))["state"] == "scheduled"
    one.run_scheduled_tasks()
    assert rollout(one, "r")["state"] == "scheduled"
    assert enroll(one).poll()["need_update"] is False
    actors.write(
        one,
        "update rollouts set policy = jsonb_build_object('starts_at', cast(:at as text))",
        at=later(hours=-1),
    )
    one.run_scheduled_tasks()
    started = rollout(one, "r")
    assert (started["state"], started["reason"], started["waiting_for"]) == ("running", "tonight", "")
    assert [(e["kind"], e["actor"]) for e in started["history"]][1:] == [
        ("schedule", "release-manager"),
        ("start", "schedule"),
    ]


def test_a_scheduled_rollout_can_be_started_before_its_time(one):
    ok(create_rollout(one, "r", "v1", policy={"starts_at": later(days=1)}))
    ok(act(one, "r", "start"))
    assert ok(act(one, "r", "start", "now after all"))["state"] == "running"


def test_a_scheduled_rollout_can_be_cancelled(one):
    ok(create_rollout(one, "r", "v1", policy={"starts_at": later(days=1)}))
    ok(act(one, "r", "start"))
    assert ok(act(one, "r", "cancel"))["state"] == "cancelled"
    one.run_scheduled_tasks()
    assert rollout(one, "r")["state"] == "cancelled"


def test_a_scheduled_rollout_of_a_revoked_version_is_cancelled(one):
    ok(create_rollout(one, "r", "v1", policy={"starts_at": later(hours=1)}))
    ok(act(one, "r", "start"))
    actors.write(one, "update rollouts set policy = '{}'")
    actors.write(one, "update versions set state = 'archived'")
    one.run_scheduled_tasks()
    cancelled = rollout(one, "r")
    assert (cancelled["state"], cancelled["history"][-1]["actor"]) == ("cancelled", "schedule")
    assert "archived" in cancelled["reason"]


def test_a_scheduled_rollout_with_a_conflict_waits_and_shows_it(one):
    ok(create_rollout(one, "later", "v1", policy={"starts_at": later(hours=1)}))
    ok(act(one, "later", "start"))
    roll_out(one, "r", "v1", stage())
    actors.write(one, "update rollouts set policy = '{}'")
    one.run_scheduled_tasks()
    waiting = rollout(one, "later")
    assert waiting["state"] == "scheduled"
    assert "r is running" in waiting["waiting_for"]
    ok(act(one, "r", "halt", "the other one"))
    one.run_scheduled_tasks()
    assert rollout(one, "later")["state"] == "running"


@pytest.fixture
@set_up_once
def two(live):
    """Two versions of one fine-tune."""
    cohort(live)
    for number in (1, 2):
        publish(live, f"v{number}", weights(number))


def test_a_rollout_that_may_roll_back_starts_once_its_rollback_patches_are_built(two):
    ok(create_rollout(two, "r", "v2", on_breach="rollback"))
    waiting = ok(act(two, "r", "start", "release"))
    assert waiting["state"] == "scheduled"
    assert waiting["waiting_for"] == "rollback patches: v2 to v1 (backbone)"
    two.run_scheduled_tasks()
    assert rollout(two, "r")["state"] == "scheduled"
    early = refused(act(two, "r", "start"), 409, "rollback_patches_pending")
    assert (early["retryable"], early["missing"]) == (True, ["v2 to v1 (backbone)"])
    assert ("build_patch", "done") in two.run_jobs()
    two.run_scheduled_tasks()
    assert rollout(two, "r")["state"] == "running"
    kept = rows(two, "select state from patches order by id")
    assert [row["state"] for row in kept] == ["ready", "ready"]


def test_pending_rollback_patches_are_described_and_the_rollout_can_be_cancelled(two):
    ok(create_rollout(two, "r", "v2", on_breach="rollback"))
    assert ok(act(two, "r", "start"))["state"] == "scheduled"
    (delay,) = rollout(two, "r")["rollback_patches"]
    assert delay.startswith("v2 to v1 (backbone): queued since 20")
    assert "for a worker of delta; " in delay
    actors.write(two, "update jobs set state = 'running', attempts = 2 where state = 'queued'")
    assert rollout(two, "r")["rollback_patches"] == ["v2 to v1 (backbone): running, attempt 2"]
    actors.write(two, "update jobs set state = 'dead' where state = 'running'")
    assert "failed after 2 attempts; POST /v1/admin/jobs/" in rollout(two, "r")["rollback_patches"][0]
    cancelled = ok(act(two, "r", "cancel"))
    assert (cancelled["state"], cancelled["rollback_patches"]) == ("cancelled", [])


def test_a_rollback_patch_that_is_not_worth_it_does_not_delay_the_start(two):
    ok(create_rollout(two, "r", "v2", policy={"rollback_to": "v1"}))
    ok(act(two, "r", "start"))
    actors.write(two, "update patches set state = 'not_worth_it' where state = 'queued'")
    two.run_scheduled_tasks()
    assert rollout(two, "r")["state"] == "running"


def test_a_rollout_that_halts_on_breach_needs_no_rollback_patches(two):
    assert roll_out(two, "r", "v2", stage())["state"] == "running"


def test_rollback_patches_lead_to_all_versions_in_use_above_the_floor(live):
    cohort(live)
    for number in (1, 2, 3):
        publish(live, f"v{number}", weights(number))
    publish(live, "v4", weights(4), floor="v2")
    for name, runs in (("d1", "v1"), ("d2", "v2"), ("d3", "v3")):
        enroll(live, name).poll(runs)
    actors.flush(live)
    ok(create_rollout(live, "r", "v4", on_breach="rollback"))
    waiting = ok(act(live, "r", "start"))["waiting_for"]
    assert waiting == "rollback patches: v4 to v3 (backbone), v4 to v2 (backbone)"


def test_concurrent_approvals_both_count_and_start_the_rollout_once(people):
    ok(create_rollout(people, "r", "v1", policy={"approvals": 2}))
    ok(act(people, "r", "start"))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda person: approve(people, person), ("ana", "bo", "ana", "bo")))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
    done = rollout(people, "r")
    assert (done["state"], len(done["approvals"])) == ("running", 2)
    assert event_kinds(people).count("start") == 1
