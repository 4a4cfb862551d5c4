from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.polling.eligibility import admitting_stage
from service.domain.targeting.buckets import bucket
from service.domain.targeting.device_classes import MAX_DEVICE_CLASSES, OTHER
from tests.service.domain.builders import (
    NOW,
    device_context,
    rollout,
    stage,
    variant,
    version,
)
from tests.service.domain.polling.three_versions import V2, V3, decision_for, model_with

INTERNAL = {"attr": "user_group", "eq": "internal"}


# --- which devices get an offer ---------------------------------------------------------------------


def test_a_device_in_an_open_stage_is_offered_the_version():
    decision = decision_for(model_with(rollout(V2)))
    assert (decision.reason, decision.action, decision.version) == ("update", "install", V2)
    assert decision.offered


def test_a_device_without_a_model_is_offered_one():
    assert decision_for(model_with(rollout(V2)), device_context(current=None)).offered


def test_a_device_with_an_unknown_version_is_offered_one():
    assert decision_for(model_with(rollout(V2)), device_context(current="custom")).offered


@pytest.mark.parametrize(
    ("model", "device", "reason", "action"),
    [
        (model_with(), device_context(), "no_rollout", "none"),
        (model_with(rollout(V2), disabled=True), device_context(), "model_disabled", "pause"),
        (model_with(rollout(V2)), device_context(blocked_status="suspended"), "suspended", "none"),
        (model_with(rollout(V2)), device_context("v2"), "up_to_date", "none"),
        (model_with(rollout(V2)), device_context("v3"), "downgrade", "none"),
        (model_with(rollout(V2, stage(INTERNAL))), device_context(), "not_in_cohort", "none"),
        (model_with(rollout(V2, stage(INTERNAL), stage())), device_context(), "not_in_stage", "none"),
        (model_with(rollout(V2, state="paused")), device_context(), "paused", "none"),
        (model_with(rollout(V2, state="halted")), device_context(), "halted", "none"),
        (model_with(rollout(V2, state="scheduled")), device_context(), "no_rollout", "none"),
        (model_with(rollout(version(2, revoked=True))), device_context(), "no_rollout", "none"),
        (
            model_with(rollout(version(2, variant({"w": "x"}, rule=INTERNAL)))),
            device_context(),
            "no_variant",
            "none",
        ),
    ],
)
def test_every_refusal_has_a_reason(model, device, reason, action):
    decision = decision_for(model, device)
    assert (decision.reason, decision.action) == (reason, action)
    assert not decision.offered
    assert decision.deliveries == ()


def test_a_suspended_device_is_not_told_that_the_model_is_disabled():
    assert (
        decision_for(model_with(disabled=True), device_context(blocked_status="suspended")).reason
        == "suspended"
    )


def test_a_completed_rollout_has_all_stages_open():
    closed = rollout(V2, stage(INTERNAL), stage(), state="running", at=0)
    done = rollout(V2, stage(INTERNAL), stage(), state="completed", at=0)
    assert not decision_for(model_with(closed)).offered
    assert decision_for(model_with(done)).offered


def test_a_completed_rollout_still_requires_its_cohorts():
    assert decision_for(model_with(rollout(V2, stage(INTERNAL), state="completed"))).reason == "not_in_cohort"


# --- several rollouts -----------------------------------------------------------------------------


def test_the_first_rollout_with_a_newer_version_decides():
    assert decision_for(model_with(rollout(V3), rollout(V2))).version is V3
    assert decision_for(model_with(rollout(V2), rollout(V3))).version is V2


def test_after_a_refusal_the_next_rollout_decides():
    assert decision_for(model_with(rollout(V3, stage(INTERNAL)), rollout(V2))).version is V2
    assert decision_for(model_with(rollout(V3, state="paused"), rollout(V2))).version is V2


def test_the_most_specific_refusal_is_given():
    outsider, current = rollout(V3, stage(INTERNAL)), rollout(V2)
    assert decision_for(model_with(outsider, current), device_context("v2")).reason == "up_to_date"
    assert (
        decision_for(model_with(rollout(V3, state="paused"), current, outsider), device_context("v2")).reason
        == "paused"
    )


def test_a_device_without_a_variant_is_not_offered_an_older_version():
    special = version(3, variant({"w": "x"}, rule=INTERNAL))
    assert decision_for(model_with(rollout(special), rollout(V2))).reason == "no_variant"


# --- stages ---------------------------------------------------------------------------------------


def test_the_attempt_is_counted_in_the_first_stage_that_admits_the_device():
    insider = device_context(attributes={"user_group": "internal"})
    stages = stage(INTERNAL), stage()
    assert decision_for(model_with(rollout(V2, *stages, at=1)), insider).stage == 0
    assert decision_for(model_with(rollout(V2, *stages, at=1))).stage == 1


def test_a_stage_includes_all_earlier_ones():
    insider = device_context(attributes={"user_group": "internal"})
    assert decision_for(
        model_with(rollout(V2, stage(INTERNAL), stage({"attr": "x", "eq": 1}), at=1)), insider
    ).offered


def test_a_percentage_admits_by_bucket():
    place = bucket("salt", "dev_12345")
    just_in, just_out = stage(percent=(place + 1) / 100), stage(percent=place / 100)
    assert admitting_stage(rollout(V2, just_in), device_context()) == 0
    assert admitting_stage(rollout(V2, just_out), device_context()) is None


@given(st.integers(0, 500), st.lists(st.integers(1, 10_000), min_size=1, max_size=5, unique=True))
@settings(deadline=None)
def test_a_device_stays_admitted_as_stages_open(number, hundredths):
    device = device_context(device_id=f"device-{number}")
    stages = [stage(percent=share / 100) for share in sorted(hundredths)]
    offered = [
        decision_for(model_with(rollout(V2, *stages, at=at)), device).offered for at in range(len(stages))
    ]
    assert offered == sorted(offered)


# --- windows and holdout -------------------------------------------------------------------------

NIGHT = {"zone": "UTC", "daily": [{"start": "02:00", "end": "04:00"}]}
NOON = {"zone": "UTC", "daily": [{"start": "11:00", "end": "13:00"}]}


@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_rollout_offers_nothing_outside_its_windows(state):
    decision = decision_for(model_with(rollout(V2, state=state, windows=NIGHT)))
    assert (decision.reason, decision.action) == ("outside_window", "none")
    assert decision.retry_window.opens_at == NOW.replace(day=21, hour=2)
    assert decision_for(model_with(rollout(V2, state=state, windows=NOON))).offered


def test_a_device_that_waits_for_a_window_is_not_offered_an_older_version():
    assert decision_for(model_with(rollout(V3, windows=NIGHT), rollout(V2))).reason == "outside_window"


def test_the_windows_of_a_rollout_for_other_devices_do_not_matter():
    assert decision_for(model_with(rollout(V3, stage(INTERNAL), windows=NIGHT), rollout(V2))).version is V2


def test_windows_do_not_keep_a_device_on_a_revoked_version():
    bad = version(1, revoked=True)
    done = rollout(V2, state="completed", windows=NIGHT)
    decision = decision_for(model_with(done, versions=(bad, V2)))
    assert (decision.reason, decision.version) == ("revoked", V2)


@pytest.mark.parametrize("state", ["running", "completed"])
def test_the_holdout_is_the_last_buckets_and_never_gets_the_version(state):
    device = device_context(device_id="dev_12")
    place = bucket("salt", "dev_12")
    just_in, just_out = (10_000 - place) / 100, (9_999 - place) / 100
    assert decision_for(model_with(rollout(V2, state=state, holdout_percent=just_out)), device).offered
    assert (
        decision_for(model_with(rollout(V2, state=state, holdout_percent=just_in)), device).reason
        == "in_holdout"
    )


def test_a_device_in_one_holdout_may_get_another_version():
    model = model_with(rollout(V3, holdout_percent=10), rollout(V2))
    assert decision_for(model, device_context(device_id="dev_12")).version is V2
    assert (
        decision_for(model_with(rollout(V3, holdout_percent=10)), device_context(device_id="dev_12")).reason
        == "in_holdout"
    )


@given(st.integers(0, 500), st.integers(1, 10_000), st.integers(0, 5_000))
@settings(deadline=None)
def test_a_holdout_excludes_exactly_its_share(number, hundredths, holdout):
    device = device_context(device_id=f"device-{number}")
    place = bucket("salt", device.device_id)
    found = decision_for(
        model_with(rollout(V2, stage(percent=hundredths / 100), holdout_percent=holdout / 100)), device
    )
    assert found.offered == (place < hundredths and place < 10_000 - holdout)


# --- paused device classes ---------------------------------------------------------------


def test_a_paused_device_class_gets_nothing():
    paused = replace(
        rollout(V2), paused_classes=frozenset({"soc=bad"}), device_classes=frozenset({"soc=bad", "soc=good"})
    )
    bad, good = device_context(attributes={"soc": "bad"}), device_context(attributes={"soc": "good"})
    assert decision_for(model_with(paused), bad).reason == "device_class_paused"
    assert decision_for(model_with(paused), good).offered


def test_a_new_class_is_paused_with_the_other_classes():
    known = frozenset(f"soc={number}" for number in range(MAX_DEVICE_CLASSES))
    paused = replace(rollout(V2), paused_classes=frozenset({OTHER}), device_classes=known)
    assert (
        decision_for(model_with(paused), device_context(attributes={"soc": "new"})).reason
        == "device_class_paused"
    )
    assert decision_for(model_with(paused), device_context(attributes={"soc": "3"})).offered


def test_another_rollout_may_serve_a_paused_class():
    paused = replace(rollout(V3), paused_classes=frozenset({""}))
    assert decision_for(model_with(paused, rollout(V2))).version == V2
