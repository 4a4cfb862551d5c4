"""Conflicts between two rollouts for the same devices."""

import pytest

from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    ok,
    publish,
    refused,
    roll_out,
    set_up_once,
    stage,
)

CN = {"attr": "region", "eq": "cn"}
EU = {"attr": "region", "eq": "eu"}


@pytest.fixture
@set_up_once
def two(live):
    """Two versions, and several cohorts."""
    for label in ("v1", "v2"):
        publish(live, label, b"weights " + label.encode())
    cohort(live)
    cohort(live, "cn", CN)
    cohort(live, "eu", EU)
    cohort(live, "testers", devices=["d1", "d2"])
    cohort(live, "others", devices=["d3"])
    cohort(live, "friends", devices=["d2", "d3"])


def start(live, name, label, *stages, **more):
    ok(create_rollout(live, name, label, *stages, **more))
    return act(live, name, "start")


@pytest.mark.parametrize("label", ["v1", "v2"])
def test_the_same_or_an_older_version_at_the_same_priority_is_not_started(two, label):
    roll_out(two, "first", "v2", stage("cn", 10))
    problem = refused(start(two, "second", label), 409, "rollout_conflict", "priority")
    assert problem["rollout"] == "first"
    assert all(word in problem["detail"] for word in ("first is running", "cn", "priority", "halt"))


def test_a_paused_rollout_conflicts_like_a_running_one(two):
    roll_out(two, "first", "v2", stage())
    ok(act(two, "first", "pause"))
    refused(start(two, "second", "v2"), 409, "rollout_conflict")
    ok(act(two, "first", "halt", "never mind"))
    assert ok(act(two, "second", "start"))["state"] == "running"


def test_a_newer_version_may_start_while_an_older_one_is_rolled_out(two):
    roll_out(two, "train-1", "v1", stage())
    roll_out(two, "train-2", "v2", stage("cn"))
    assert enroll(two, "d1", region="cn").poll(attributes={"region": "cn"})["rollout"] == "train-2"
    assert enroll(two, "d2").poll()["rollout"] == "train-1"


def test_rollouts_of_different_priority_do_not_conflict(two):
    roll_out(two, "first", "v2", stage())
    assert ok(start(two, "second", "v1", priority=1))["state"] == "running"


@pytest.mark.parametrize(("one", "other"), [("cn", "eu"), ("testers", "others")])
def test_disjoint_cohorts_do_not_conflict(two, one, other):
    roll_out(two, "first", "v2", stage(one))
    assert ok(start(two, "second", "v2", stage(other)))["state"] == "running"


@pytest.mark.parametrize(("one", "other"), [("cn", "everyone"), ("testers", "friends"), ("cn", "testers")])
def test_cohorts_that_may_share_devices_conflict(two, one, other):
    roll_out(two, "first", "v2", stage(one))
    refused(start(two, "second", "v2", stage(other)), 409, "rollout_conflict")


def test_a_rollout_that_has_ended_does_not_conflict(two):
    roll_out(two, "first", "v2", stage(advance_when={"reports": 0}))
    two.run_scheduled_tasks()
    assert ok(start(two, "second", "v2"))["state"] == "running"
