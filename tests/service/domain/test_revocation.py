"""Where devices go whose version has been revoked."""

from dataclasses import replace

import pytest

from service.domain.offers import decide, refuge
from tests.service.domain.lines import (
    NOW,
    WHEN,
    facts,
    line,
    patch,
    rollout,
    stage,
    variant,
    version,
)

GOOD, BAD, NEWER = version(1), version(2, revoked=True), version(3)


def ask(model, current="v2", **known):
    return decide(model, facts(current, **known), WHEN)


def outcome(decision):
    return decision.reason, decision.action, decision.version.label if decision.version else None


def test_a_device_on_a_revoked_version_is_rolled_back_to_what_was_released_before():
    model = line([GOOD, BAD], [rollout(BAD, state="halted"), rollout(GOOD, state="completed")])
    assert outcome(ask(model)) == ("revoked", "rollback", "v1")


def test_a_version_that_shipped_inside_the_app_is_a_refuge_without_any_rollout():
    assert outcome(ask(line([GOOD, BAD], [rollout(BAD, state="halted")]))) == ("revoked", "rollback", "v1")


def test_a_newer_version_that_was_released_is_installed_instead_of_going_back():
    model = line([GOOD, BAD, NEWER], [rollout(NEWER, state="completed")])
    assert outcome(ask(model)) == ("update", "install", "v3")


def test_a_released_newer_version_is_a_refuge_even_for_devices_that_its_rollout_does_not_admit():
    others = stage({"attr": "region", "in": ["elsewhere"]})
    model = line([GOOD, BAD, NEWER], [rollout(NEWER, others, state="completed")])
    assert outcome(ask(model)) == ("revoked", "install", "v3")


def test_a_newer_version_whose_rollout_still_runs_is_for_those_that_it_admits():
    model = line([GOOD, BAD, NEWER], [rollout(NEWER, stage(percent=0.0))])
    assert outcome(ask(model)) == ("revoked", "rollback", "v1")
    model = line([GOOD, BAD, NEWER], [rollout(NEWER)])
    assert outcome(ask(model)) == ("update", "install", "v3")


def test_what_was_released_comes_before_what_never_had_a_rollout():
    unproved, bad = version(2), version(3, revoked=True)
    model = line([GOOD, unproved, bad], [rollout(GOOD, state="completed")])
    assert outcome(ask(model, "v3")) == ("revoked", "rollback", "v1")


@pytest.mark.parametrize("state", ["halted", "rolled_back"])
def test_a_version_whose_rollout_was_stopped_is_no_refuge(state):
    stopped, bad = version(2), version(3, revoked=True)
    model = line([GOOD, stopped, bad], [rollout(stopped, state=state)])
    assert outcome(ask(model, "v3")) == ("revoked", "rollback", "v1")


def test_a_revoked_version_is_no_refuge_from_another():
    model = line([GOOD, version(2, revoked=True), version(3, revoked=True)])
    assert outcome(ask(model, "v3")) == ("revoked", "rollback", "v1")


def test_a_device_with_nowhere_to_go_keeps_what_runs_and_is_told_why():
    assert outcome(ask(line([BAD]))) == ("revoked", "hold", None)


def test_the_floor_of_the_revoked_version_still_holds():
    fenced = version(2, revoked=True, floor=2)
    assert outcome(ask(line([GOOD, fenced]))) == ("revoked", "hold", None)
    assert outcome(ask(line([GOOD, version(2, revoked=True, floor=1)]))) == ("revoked", "rollback", "v1")


def test_a_version_without_a_build_for_the_device_is_passed_over():
    oldest = version(1)
    phones_only = version(2, variant({"weights": "w2"}, rule={"attr": "os", "in": ["phone"]}))
    model = line([oldest, phones_only, version(3, revoked=True)])
    assert outcome(ask(model, "v3")) == ("revoked", "rollback", "v1")
    assert outcome(ask(model, "v3", attributes={"os": "phone"})) == ("revoked", "rollback", "v2")


def test_a_device_on_a_revoked_version_does_not_wait_for_a_patch():
    way = patch("w2", "w3", ready=False, since=NOW)
    model = line([GOOD, BAD, NEWER], [rollout(NEWER)], [way])
    assert outcome(ask(model, accepts=("glp1", "full"))) == ("update", "install", "v3")


def test_patches_that_lead_away_from_a_revoked_version_are_used():
    model = line([GOOD, BAD, NEWER], [rollout(NEWER)], [patch("w2", "w3")])
    assert ask(model, accepts=("glp1", "full")).deliveries[0].patches[0].format == "glp1"


def test_other_devices_are_never_offered_a_revoked_version():
    for state in ("running", "completed", "paused"):
        model = line([GOOD, BAD], [rollout(BAD, state=state)])
        assert outcome(ask(model, "v1")) == ("no_rollout", "none", None)
        assert outcome(ask(model, None)) == ("no_rollout", "none", None)


def test_a_suspended_device_and_a_killed_model_are_left_alone():
    model = line([GOOD, BAD])
    assert ask(model, blocked="suspended").reason == "suspended"
    assert ask(replace(model, killed=True)).action == "hold"


def test_a_revoked_version_is_not_the_newest_released_one():
    model = line([GOOD, BAD], [rollout(BAD, state="completed"), rollout(GOOD, state="completed")])
    assert model.released().label == "v1"


def test_the_refuge_is_asked_for_by_itself_where_a_rollout_refuses_in_the_end():
    model = line([GOOD, BAD, NEWER], [rollout(NEWER)])
    assert outcome(refuge(model, facts("v2"))) == ("revoked", "rollback", "v1")
    assert refuge(model, facts("v1")) is None
    assert refuge(model, facts(None)) is None
