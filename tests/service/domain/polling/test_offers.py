from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.polling.deliveries import choose_variant
from service.domain.polling.eligibility import admitting_stage
from service.domain.polling.offers import decide
from service.domain.targeting.buckets import bucket
from service.domain.targeting.device_classes import MAX_DEVICE_CLASSES, OTHER
from tests.service.domain.builders import (
    DECISION_TIME,
    NOW,
    WAITING_SINCE,
    device_context,
    digest,
    model_view,
    patch,
    rollout,
    stage,
    variant,
    version,
)

V1, V2, V3 = version(1), version(2), version(3)
INSIDERS = {"attr": "user_group", "eq": "internal"}
PATCHES = ("glp1", "bsdiff40", "full")


def ask(model, device=None):
    return decide(model, device or device_context(), DECISION_TIME)


def only(*rollouts, versions=(V1, V2, V3), **more):
    return model_view(versions, rollouts, **more)


# --- who is offered something ---------------------------------------------------------------------


def test_a_device_in_an_open_stage_is_offered_the_version():
    decision = ask(only(rollout(V2)))
    assert (decision.reason, decision.action, decision.version) == ("update", "install", V2)
    assert decision.offered


def test_a_device_without_a_model_is_offered_one():
    assert ask(only(rollout(V2)), device_context(current=None)).offered


def test_a_device_with_an_unknown_version_is_offered_one():
    assert ask(only(rollout(V2)), device_context(current="custom")).offered


@pytest.mark.parametrize(
    ("model", "device", "reason", "action"),
    [
        (only(), device_context(), "no_rollout", "none"),
        (only(rollout(V2), disabled=True), device_context(), "model_disabled", "pause"),
        (only(rollout(V2)), device_context(blocked_status="suspended"), "suspended", "none"),
        (only(rollout(V2)), device_context("v2"), "up_to_date", "none"),
        (only(rollout(V2)), device_context("v3"), "downgrade", "none"),
        (only(rollout(V2, stage(INSIDERS))), device_context(), "not_in_cohort", "none"),
        (only(rollout(V2, stage(INSIDERS), stage())), device_context(), "not_in_stage", "none"),
        (only(rollout(V2, state="paused")), device_context(), "paused", "none"),
        (only(rollout(V2, state="halted")), device_context(), "halted", "none"),
        (only(rollout(V2, state="scheduled")), device_context(), "no_rollout", "none"),
        (only(rollout(version(2, revoked=True))), device_context(), "no_rollout", "none"),
        (
            only(rollout(version(2, variant({"w": "x"}, rule=INSIDERS)))),
            device_context(),
            "no_variant",
            "none",
        ),
    ],
)
def test_every_refusal_has_a_reason(model, device, reason, action):
    decision = ask(model, device)
    assert (decision.reason, decision.action) == (reason, action)
    assert not decision.offered
    assert decision.deliveries == ()


def test_a_suspended_device_is_not_told_that_the_model_is_disabled():
    assert ask(only(disabled=True), device_context(blocked_status="suspended")).reason == "suspended"


def test_a_completed_rollout_has_all_stages_open():
    closed = rollout(V2, stage(INSIDERS), stage(), state="running", at=0)
    done = rollout(V2, stage(INSIDERS), stage(), state="completed", at=0)
    assert not ask(only(closed)).offered
    assert ask(only(done)).offered


def test_a_completed_rollout_still_requires_its_cohorts():
    assert ask(only(rollout(V2, stage(INSIDERS), state="completed"))).reason == "not_in_cohort"


# --- several rollouts -----------------------------------------------------------------------------


def test_the_first_rollout_with_a_newer_version_decides():
    assert ask(only(rollout(V3), rollout(V2))).version is V3
    assert ask(only(rollout(V2), rollout(V3))).version is V2


def test_after_a_refusal_the_next_rollout_decides():
    assert ask(only(rollout(V3, stage(INSIDERS)), rollout(V2))).version is V2
    assert ask(only(rollout(V3, state="paused"), rollout(V2))).version is V2


def test_the_most_specific_refusal_is_given():
    outsider, current = rollout(V3, stage(INSIDERS)), rollout(V2)
    assert ask(only(outsider, current), device_context("v2")).reason == "up_to_date"
    assert ask(only(rollout(V3, state="paused"), current, outsider), device_context("v2")).reason == "paused"


def test_a_device_without_a_variant_is_not_offered_an_older_version():
    special = version(3, variant({"w": "x"}, rule=INSIDERS))
    assert ask(only(rollout(special), rollout(V2))).reason == "no_variant"


# --- stages ---------------------------------------------------------------------------------------


def test_the_attempt_is_counted_in_the_first_stage_that_admits_the_device():
    insider = device_context(attributes={"user_group": "internal"})
    stages = stage(INSIDERS), stage()
    assert ask(only(rollout(V2, *stages, at=1)), insider).stage == 0
    assert ask(only(rollout(V2, *stages, at=1))).stage == 1


def test_a_stage_includes_all_earlier_ones():
    insider = device_context(attributes={"user_group": "internal"})
    assert ask(only(rollout(V2, stage(INSIDERS), stage({"attr": "x", "eq": 1}), at=1)), insider).offered


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
    offered = [ask(only(rollout(V2, *stages, at=at)), device).offered for at in range(len(stages))]
    assert offered == sorted(offered)


# --- windows and holdout -------------------------------------------------------------------------

NIGHT = {"zone": "UTC", "daily": [{"start": "02:00", "end": "04:00"}]}
NOON = {"zone": "UTC", "daily": [{"start": "11:00", "end": "13:00"}]}


@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_rollout_offers_nothing_outside_its_windows(state):
    decision = ask(only(rollout(V2, state=state, windows=NIGHT)))
    assert (decision.reason, decision.action) == ("outside_window", "none")
    assert decision.retry_window.opens_at == NOW.replace(day=21, hour=2)
    assert ask(only(rollout(V2, state=state, windows=NOON))).offered


def test_a_device_that_waits_for_a_window_is_not_offered_an_older_version():
    assert ask(only(rollout(V3, windows=NIGHT), rollout(V2))).reason == "outside_window"


def test_the_windows_of_a_rollout_for_other_devices_do_not_matter():
    assert ask(only(rollout(V3, stage(INSIDERS), windows=NIGHT), rollout(V2))).version is V2


def test_windows_do_not_keep_a_device_on_a_revoked_version():
    bad = version(1, revoked=True)
    done = rollout(V2, state="completed", windows=NIGHT)
    decision = ask(only(done, versions=(bad, V2)))
    assert (decision.reason, decision.version) == ("revoked", V2)


@pytest.mark.parametrize("state", ["running", "completed"])
def test_the_holdout_is_the_last_buckets_and_never_gets_the_version(state):
    device = device_context(device_id="dev_12")
    place = bucket("salt", "dev_12")
    just_in, just_out = (10_000 - place) / 100, (9_999 - place) / 100
    assert ask(only(rollout(V2, state=state, holdout_percent=just_out)), device).offered
    assert ask(only(rollout(V2, state=state, holdout_percent=just_in)), device).reason == "in_holdout"


def test_a_device_in_one_holdout_may_get_another_version():
    model = only(rollout(V3, holdout_percent=10), rollout(V2))
    assert ask(model, device_context(device_id="dev_12")).version is V2
    assert (
        ask(only(rollout(V3, holdout_percent=10)), device_context(device_id="dev_12")).reason == "in_holdout"
    )


@given(st.integers(0, 500), st.integers(1, 10_000), st.integers(0, 5_000))
@settings(deadline=None)
def test_a_holdout_excludes_exactly_its_share(number, hundredths, held):
    device = device_context(device_id=f"device-{number}")
    place = bucket("salt", device.device_id)
    found = ask(only(rollout(V2, stage(percent=hundredths / 100), holdout_percent=held / 100)), device)
    assert found.offered == (place < hundredths and place < 10_000 - held)


# --- variants -------------------------------------------------------------------------------------


def test_the_variant_of_highest_priority_that_matches_wins():
    small = variant({"w": "int4"}, name="int4", priority=0)
    big = variant({"w": "int8"}, name="int8", rule={"attr": "ram_mb", "gte": 8192}, priority=10)
    both = version(2, small, big)
    assert choose_variant(both, device_context(attributes={"ram_mb": 12288})).name == "int8"
    assert choose_variant(both, device_context(attributes={"ram_mb": 4096})).name == "int4"
    assert choose_variant(both, device_context()).name == "int4"


# --- how the bytes come ---------------------------------------------------------------------------


def deliveries(model, device):
    return {way.component.name: way for way in ask(model, device).deliveries}


def test_a_patch_from_the_running_version_is_preferred():
    way = deliveries(only(rollout(V2), patches=[patch("w1", "w2")]), device_context(accepts=PATCHES))[
        "weights"
    ]
    assert [item.format for item in way.patches] == ["glp1"]
    assert way.bytes == 100


def test_a_device_that_accepts_full_files_only_gets_no_patch():
    way = deliveries(only(rollout(V2), patches=[patch("w1", "w2")]), device_context())["weights"]
    assert way.patches == ()
    assert way.bytes == 1000


@pytest.mark.parametrize("order", [("glp1", "bsdiff40", "full"), ("bsdiff40", "glp1", "full")])
def test_patches_are_in_the_order_that_the_device_prefers(order):
    ways = [patch("w1", "w2", kind="glp1"), patch("w1", "w2", kind="bsdiff40")]
    way = deliveries(only(rollout(V2), patches=ways), device_context(accepts=order))["weights"]
    assert [item.format for item in way.patches] == list(order[:2])


def test_files_on_disk_take_precedence_over_the_reported_version():
    model = only(rollout(V2), patches=[patch("w1", "w2"), patch("mine", "w2", size=7)])
    device = device_context(accepts=PATCHES, components={"weights": digest("mine")})
    assert deliveries(model, device)["weights"].bytes == 7


def test_a_device_with_an_unknown_version_gets_the_full_file():
    model = only(rollout(V2), patches=[patch("w1", "w2")])
    assert deliveries(model, device_context("custom", accepts=PATCHES))["weights"].patches == ()


TWO_PARTS = (
    version(1, variant({"backbone": "b1", "tokenizer": "t1"})),
    version(2, variant({"backbone": "b2", "tokenizer": "t1"})),
)


def test_an_unchanged_component_is_not_downloaded():
    ways = deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device_context())
    assert ways["tokenizer"].keep
    assert ways["tokenizer"].bytes == 0
    assert not ways["backbone"].keep


def test_a_file_under_another_name_is_not_downloaded():
    held = {"other": digest("b2"), "tokenizer": digest("t1")}
    ways = deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device_context(components=held))
    assert all(way.keep for way in ways.values())


def test_a_device_gets_only_the_components_that_it_wants():
    device = device_context(wanted_components=frozenset({"tokenizer"}))
    assert set(deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device)) == {"tokenizer"}


# --- patches in the making ------------------------------------------------------------------------


def test_a_device_waits_for_a_patch_that_is_being_built():
    model = only(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert ask(model, device_context(accepts=PATCHES)).reason == "patch_building"


def test_the_wait_for_a_patch_ends():
    late = patch("w1", "w2", ready=False, since=WAITING_SINCE - timedelta(seconds=1))
    decision = ask(only(rollout(V2), patches=[late]), device_context(accepts=PATCHES))
    assert decision.offered
    assert decision.deliveries[0].patches == ()


def test_a_device_does_not_wait_for_a_patch_that_it_cannot_apply():
    model = only(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert ask(model, device_context()).offered
    assert ask(model, device_context(accepts=("bsdiff40", "full"))).offered


def test_a_device_with_a_ready_patch_does_not_wait_for_another():
    ways = [patch("w1", "w2", kind="bsdiff40"), patch("w1", "w2", ready=False)]
    decision = ask(only(rollout(V2), patches=ways), device_context(accepts=PATCHES))
    assert [item.format for item in decision.deliveries[0].patches] == ["bsdiff40"]


def test_a_device_does_not_wait_for_a_patch_from_another_file():
    model = only(rollout(V2), patches=[patch("w0", "w2", ready=False)])
    assert ask(model, device_context(accepts=PATCHES)).offered


def test_a_device_that_waits_for_a_patch_is_not_offered_an_older_version():
    model = only(rollout(V3), rollout(V2), patches=[patch("w1", "w3", ready=False, since=NOW)])
    assert ask(model, device_context(accepts=PATCHES)).reason == "patch_building"


# --- classes of device that are held back ---------------------------------------------------------------


def test_a_paused_device_class_gets_nothing():
    held = replace(
        rollout(V2), paused_classes=frozenset({"soc=bad"}), device_classes=frozenset({"soc=bad", "soc=good"})
    )
    bad, good = device_context(attributes={"soc": "bad"}), device_context(attributes={"soc": "good"})
    assert ask(only(held), bad).reason == "device_class_paused"
    assert ask(only(held), good).offered


def test_a_new_class_is_paused_with_the_other_classes():
    known = frozenset(f"soc={number}" for number in range(MAX_DEVICE_CLASSES))
    held = replace(rollout(V2), paused_classes=frozenset({OTHER}), device_classes=known)
    assert ask(only(held), device_context(attributes={"soc": "new"})).reason == "device_class_paused"
    assert ask(only(held), device_context(attributes={"soc": "3"})).offered


def test_another_rollout_may_serve_a_paused_class():
    held = replace(rollout(V3), paused_classes=frozenset({""}))
    assert ask(only(held, rollout(V2))).version == V2
