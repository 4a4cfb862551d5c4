from dataclasses import replace

import pytest

from service.domain.polling.offers import decide
from service.domain.polling.revocation_targets import revocation_target
from tests.service.domain.builders import (
    DECISION_TIME,
    NOW,
    device_context,
    model_view,
    patch,
    rollout,
    stage,
    variant,
    version,
)

GOOD, BAD, NEWER = version(1), version(2, revoked=True), version(3)


def decision_for(model, current="v2", **known):
    return decide(model, device_context(current, **known), DECISION_TIME)


def outcome(decision):
    return decision.reason, decision.action, decision.version.label if decision.version else None


def test_a_device_on_a_revoked_version_is_rolled_back_to_what_was_released_before():
    model = model_view([GOOD, BAD], [rollout(BAD, state="halted"), rollout(GOOD, state="completed")])
    assert outcome(decision_for(model)) == ("revoked", "rollback", "v1")


def test_a_version_without_a_rollout_is_a_target():
    assert outcome(decision_for(model_view([GOOD, BAD], [rollout(BAD, state="halted")]))) == (
        "revoked",
        "rollback",
        "v1",
    )


def test_a_newer_version_that_was_released_is_installed_instead_of_going_back():
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER, state="completed")])
    assert outcome(decision_for(model)) == ("update", "install", "v3")


def test_a_released_newer_version_is_a_target_for_devices_outside_its_rollout():
    others = stage({"attr": "region", "in": ["elsewhere"]})
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER, others, state="completed")])
    assert outcome(decision_for(model)) == ("revoked", "install", "v3")


def test_a_newer_version_with_a_running_rollout_is_for_the_devices_that_it_admits():
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER, stage(percent=0.0))])
    assert outcome(decision_for(model)) == ("revoked", "rollback", "v1")
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER)])
    assert outcome(decision_for(model)) == ("update", "install", "v3")


def test_a_released_version_comes_before_one_without_a_rollout():
    unproved, bad = version(2), version(3, revoked=True)
    model = model_view([GOOD, unproved, bad], [rollout(GOOD, state="completed")])
    assert outcome(decision_for(model, "v3")) == ("revoked", "rollback", "v1")


@pytest.mark.parametrize("state", ["halted", "rolled_back"])
def test_a_version_whose_rollout_was_stopped_is_no_target(state):
    stopped, bad = version(2), version(3, revoked=True)
    model = model_view([GOOD, stopped, bad], [rollout(stopped, state=state)])
    assert outcome(decision_for(model, "v3")) == ("revoked", "rollback", "v1")


def test_a_revoked_version_is_no_target():
    model = model_view([GOOD, version(2, revoked=True), version(3, revoked=True)])
    assert outcome(decision_for(model, "v3")) == ("revoked", "rollback", "v1")


def test_a_device_without_a_target_keeps_its_version():
    assert outcome(decision_for(model_view([BAD]))) == ("revoked", "pause", None)


def test_the_floor_of_the_revoked_version_holds():
    with_floor = version(2, revoked=True, floor=2)
    assert outcome(decision_for(model_view([GOOD, with_floor]))) == ("revoked", "pause", None)
    assert outcome(decision_for(model_view([GOOD, version(2, revoked=True, floor=1)]))) == (
        "revoked",
        "rollback",
        "v1",
    )


def test_a_version_without_a_variant_for_the_device_is_skipped():
    oldest = version(1)
    phones_only = version(2, variant({"weights": "w2"}, rule={"attr": "os", "in": ["phone"]}))
    model = model_view([oldest, phones_only, version(3, revoked=True)])
    assert outcome(decision_for(model, "v3")) == ("revoked", "rollback", "v1")
    assert outcome(decision_for(model, "v3", attributes={"os": "phone"})) == ("revoked", "rollback", "v2")


def test_a_device_on_a_revoked_version_does_not_wait_for_a_patch():
    building = patch("w2", "w3", ready=False, since=NOW)
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER)], [building])
    assert outcome(decision_for(model, accepts=("glp1", "full"))) == ("update", "install", "v3")


def test_patches_from_a_revoked_version_are_used():
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER)], [patch("w2", "w3")])
    assert decision_for(model, accepts=("glp1", "full")).deliveries[0].patches[0].format == "glp1"


def test_other_devices_are_never_offered_a_revoked_version():
    for state in ("running", "completed", "paused"):
        model = model_view([GOOD, BAD], [rollout(BAD, state=state)])
        assert outcome(decision_for(model, "v1")) == ("no_rollout", "none", None)
        assert outcome(decision_for(model, None)) == ("no_rollout", "none", None)


def test_a_suspended_device_and_a_disabled_model_get_nothing():
    model = model_view([GOOD, BAD])
    assert decision_for(model, blocked_status="suspended").reason == "suspended"
    assert decision_for(replace(model, disabled=True)).action == "pause"


def test_a_revoked_version_is_not_the_newest_released_one():
    model = model_view([GOOD, BAD], [rollout(BAD, state="completed"), rollout(GOOD, state="completed")])
    assert model.newest_released().label == "v1"


def test_the_target_can_be_determined_without_rollouts():
    model = model_view([GOOD, BAD, NEWER], [rollout(NEWER)])
    assert outcome(revocation_target(model, device_context("v2"))) == ("revoked", "rollback", "v1")
    assert revocation_target(model, device_context("v1")) is None
    assert revocation_target(model, device_context(None)) is None
