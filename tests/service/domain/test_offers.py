from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.cohorts import bucket
from service.domain.deliveries import choose_variant
from service.domain.offers import decide
from service.domain.reach import admitting_stage
from service.domain.strata import MAX_STRATA, OTHER
from tests.service.domain.lines import (
    NOW,
    WAITING_SINCE,
    WHEN,
    digest,
    facts,
    line,
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
    return decide(model, device or facts(), WHEN)


def only(*rollouts, versions=(V1, V2, V3), **more):
    return line(versions, rollouts, **more)


# --- who is offered something ---------------------------------------------------------------------


def test_a_device_in_an_open_stage_is_offered_the_version():
    decision = ask(only(rollout(V2)))
    assert (decision.reason, decision.action, decision.version) == ("update", "install", V2)
    assert decision.offered


def test_a_device_without_a_model_is_offered_one():
    assert ask(only(rollout(V2)), facts(current=None)).offered


def test_a_device_with_a_version_that_we_never_made_is_offered_one():
    assert ask(only(rollout(V2)), facts(current="custom")).offered


@pytest.mark.parametrize(
    ("model", "device", "reason", "action"),
    [
        (only(), facts(), "no_rollout", "none"),
        (only(rollout(V2), killed=True), facts(), "killed", "hold"),
        (only(rollout(V2)), facts(blocked="suspended"), "suspended", "none"),
        (only(rollout(V2)), facts("v2"), "up_to_date", "none"),
        (only(rollout(V2)), facts("v3"), "downgrade", "none"),
        (only(rollout(V2, stage(INSIDERS))), facts(), "not_in_cohort", "none"),
        (only(rollout(V2, stage(INSIDERS), stage())), facts(), "not_in_stage", "none"),
        (only(rollout(V2, state="paused")), facts(), "paused", "none"),
        (only(rollout(V2, state="halted")), facts(), "halted", "none"),
        (only(rollout(V2, state="scheduled")), facts(), "no_rollout", "none"),
        (only(rollout(version(2, revoked=True))), facts(), "no_rollout", "none"),
        (only(rollout(version(2, variant({"w": "x"}, rule=INSIDERS)))), facts(), "no_variant", "none"),
    ],
)
def test_every_no_has_a_name(model, device, reason, action):
    decision = ask(model, device)
    assert (decision.reason, decision.action) == (reason, action)
    assert not decision.offered
    assert decision.deliveries == ()


def test_a_suspended_device_learns_nothing_of_a_killed_model():
    assert ask(only(killed=True), facts(blocked="suspended")).reason == "suspended"


def test_a_completed_rollout_is_open_to_all_its_stages():
    closed = rollout(V2, stage(INSIDERS), stage(), state="running", at=0)
    done = rollout(V2, stage(INSIDERS), stage(), state="completed", at=0)
    assert not ask(only(closed)).offered
    assert ask(only(done)).offered


def test_a_completed_rollout_keeps_to_its_cohorts():
    assert ask(only(rollout(V2, stage(INSIDERS), state="completed"))).reason == "not_in_cohort"


# --- several rollouts -----------------------------------------------------------------------------


def test_the_first_rollout_that_has_something_newer_decides():
    assert ask(only(rollout(V3), rollout(V2))).version is V3
    assert ask(only(rollout(V2), rollout(V3))).version is V2


def test_a_rollout_that_refuses_leaves_the_device_to_the_next():
    assert ask(only(rollout(V3, stage(INSIDERS)), rollout(V2))).version is V2
    assert ask(only(rollout(V3, state="paused"), rollout(V2))).version is V2


def test_the_most_telling_refusal_is_the_one_that_is_given():
    outsider, current = rollout(V3, stage(INSIDERS)), rollout(V2)
    assert ask(only(outsider, current), facts("v2")).reason == "up_to_date"
    assert ask(only(rollout(V3, state="paused"), current, outsider), facts("v2")).reason == "paused"


def test_a_device_without_a_variant_is_not_given_an_older_version_instead():
    special = version(3, variant({"w": "x"}, rule=INSIDERS))
    assert ask(only(rollout(special), rollout(V2))).reason == "no_variant"


# --- stages ---------------------------------------------------------------------------------------


def test_the_attempt_is_counted_in_the_first_stage_that_admits_the_device():
    insider = facts(attributes={"user_group": "internal"})
    stages = stage(INSIDERS), stage()
    assert ask(only(rollout(V2, *stages, at=1)), insider).stage == 0
    assert ask(only(rollout(V2, *stages, at=1))).stage == 1


def test_a_stage_includes_all_earlier_ones():
    insider = facts(attributes={"user_group": "internal"})
    assert ask(only(rollout(V2, stage(INSIDERS), stage({"attr": "x", "eq": 1}), at=1)), insider).offered


def test_a_percentage_admits_by_bucket_and_not_by_order_of_arrival():
    place = bucket("salt", "dev_12345")
    just_in, just_out = stage(percent=(place + 1) / 100), stage(percent=place / 100)
    assert admitting_stage(rollout(V2, just_in), facts()) == 0
    assert admitting_stage(rollout(V2, just_out), facts()) is None


@given(st.integers(0, 500), st.lists(st.integers(1, 10_000), min_size=1, max_size=5, unique=True))
@settings(deadline=None)
def test_an_open_stage_that_admitted_a_device_goes_on_admitting_it(number, hundredths):
    device = facts(device_id=f"device-{number}")
    stages = [stage(percent=share / 100) for share in sorted(hundredths)]
    offered = [ask(only(rollout(V2, *stages, at=at)), device).offered for at in range(len(stages))]
    assert offered == sorted(offered)


# --- windows and holdback -------------------------------------------------------------------------

NIGHT = {"zone": "UTC", "daily": [{"start": "02:00", "end": "04:00"}]}
NOON = {"zone": "UTC", "daily": [{"start": "11:00", "end": "13:00"}]}


@pytest.mark.parametrize("state", ["running", "completed"])
def test_outside_its_windows_a_rollout_offers_nothing_also_to_those_who_come_late(state):
    decision = ask(only(rollout(V2, state=state, windows=NIGHT)))
    assert (decision.reason, decision.action) == ("outside_window", "none")
    assert decision.opening.at == NOW.replace(day=21, hour=2)
    assert ask(only(rollout(V2, state=state, windows=NOON))).offered


def test_a_device_that_waits_for_a_window_is_not_given_an_older_version_instead():
    assert ask(only(rollout(V3, windows=NIGHT), rollout(V2))).reason == "outside_window"


def test_the_windows_of_a_rollout_that_does_not_mean_the_device_do_not_matter():
    assert ask(only(rollout(V3, stage(INSIDERS), windows=NIGHT), rollout(V2))).version is V2


def test_a_revoked_version_is_left_at_any_time():
    bad = version(1, revoked=True)
    done = rollout(V2, state="completed", windows=NIGHT)
    decision = ask(only(done, versions=(bad, V2)))
    assert (decision.reason, decision.version) == ("revoked", V2)


@pytest.mark.parametrize("state", ["running", "completed"])
def test_the_control_group_is_the_top_of_the_buckets_and_never_gets_it(state):
    device = facts(device_id="dev_12")
    place = bucket("salt", "dev_12")
    just_in, just_out = (10_000 - place) / 100, (9_999 - place) / 100
    assert ask(only(rollout(V2, state=state, holdback_percent=just_out)), device).offered
    assert ask(only(rollout(V2, state=state, holdback_percent=just_in)), device).reason == "held_back"


def test_who_is_held_back_from_one_version_may_have_another():
    model = only(rollout(V3, holdback_percent=10), rollout(V2))
    assert ask(model, facts(device_id="dev_12")).version is V2
    assert ask(only(rollout(V3, holdback_percent=10)), facts(device_id="dev_12")).reason == "held_back"


@given(st.integers(0, 500), st.integers(1, 10_000), st.integers(0, 5_000))
@settings(deadline=None)
def test_a_holdback_takes_nobody_below_its_share(number, hundredths, held):
    device = facts(device_id=f"device-{number}")
    place = bucket("salt", device.device_id)
    found = ask(only(rollout(V2, stage(percent=hundredths / 100), holdback_percent=held / 100)), device)
    assert found.offered == (place < hundredths and place < 10_000 - held)


# --- variants -------------------------------------------------------------------------------------


def test_the_variant_of_highest_priority_that_matches_wins():
    small = variant({"w": "int4"}, name="int4", priority=0)
    big = variant({"w": "int8"}, name="int8", rule={"attr": "ram_mb", "gte": 8192}, priority=10)
    both = version(2, small, big)
    assert choose_variant(both, facts(attributes={"ram_mb": 12288})).name == "int8"
    assert choose_variant(both, facts(attributes={"ram_mb": 4096})).name == "int4"
    assert choose_variant(both, facts()).name == "int4"


# --- how the bytes come ---------------------------------------------------------------------------


def deliveries(model, device):
    return {way.component.name: way for way in ask(model, device).deliveries}


def test_a_ready_patch_from_the_version_that_runs_comes_before_the_full_file():
    way = deliveries(only(rollout(V2), patches=[patch("w1", "w2")]), facts(accepts=PATCHES))["weights"]
    assert [item.format for item in way.patches] == ["glp1"]
    assert way.bytes == 100


def test_a_device_that_only_takes_full_files_gets_no_patch():
    way = deliveries(only(rollout(V2), patches=[patch("w1", "w2")]), facts())["weights"]
    assert way.patches == ()
    assert way.bytes == 1000


@pytest.mark.parametrize("order", [("glp1", "bsdiff40", "full"), ("bsdiff40", "glp1", "full")])
def test_patches_come_in_the_order_that_the_device_prefers(order):
    ways = [patch("w1", "w2", kind="glp1"), patch("w1", "w2", kind="bsdiff40")]
    way = deliveries(only(rollout(V2), patches=ways), facts(accepts=order))["weights"]
    assert [item.format for item in way.patches] == list(order[:2])


def test_what_is_really_on_the_disk_outranks_what_the_label_promises():
    model = only(rollout(V2), patches=[patch("w1", "w2"), patch("mine", "w2", size=7)])
    device = facts(accepts=PATCHES, components={"weights": digest("mine")})
    assert deliveries(model, device)["weights"].bytes == 7


def test_a_version_of_unknown_origin_gets_the_full_file():
    model = only(rollout(V2), patches=[patch("w1", "w2")])
    assert deliveries(model, facts("custom", accepts=PATCHES))["weights"].patches == ()


TWO_PARTS = (
    version(1, variant({"backbone": "b1", "tokenizer": "t1"})),
    version(2, variant({"backbone": "b2", "tokenizer": "t1"})),
)


def test_a_component_that_has_not_changed_costs_nothing():
    ways = deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), facts())
    assert ways["tokenizer"].keep
    assert ways["tokenizer"].bytes == 0
    assert not ways["backbone"].keep


def test_bytes_that_the_device_holds_under_another_name_cost_nothing():
    held = {"other": digest("b2"), "tokenizer": digest("t1")}
    ways = deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), facts(components=held))
    assert all(way.keep for way in ways.values())


def test_a_device_gets_the_modules_that_it_wants():
    device = facts(modules=frozenset({"tokenizer"}))
    assert set(deliveries(only(rollout(TWO_PARTS[1]), versions=TWO_PARTS), device)) == {"tokenizer"}


# --- patches in the making ------------------------------------------------------------------------


def test_a_patch_in_the_making_is_worth_a_short_wait():
    model = only(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert ask(model, facts(accepts=PATCHES)).reason == "patch_building"


def test_the_wait_for_a_patch_has_an_end():
    late = patch("w1", "w2", ready=False, since=WAITING_SINCE - timedelta(seconds=1))
    decision = ask(only(rollout(V2), patches=[late]), facts(accepts=PATCHES))
    assert decision.offered
    assert decision.deliveries[0].patches == ()


def test_a_device_does_not_wait_for_a_patch_that_it_could_not_apply():
    model = only(rollout(V2), patches=[patch("w1", "w2", ready=False)])
    assert ask(model, facts()).offered
    assert ask(model, facts(accepts=("bsdiff40", "full"))).offered


def test_a_device_that_can_have_a_patch_now_does_not_wait_for_another():
    ways = [patch("w1", "w2", kind="bsdiff40"), patch("w1", "w2", ready=False)]
    decision = ask(only(rollout(V2), patches=ways), facts(accepts=PATCHES))
    assert [item.format for item in decision.deliveries[0].patches] == ["bsdiff40"]


def test_a_patch_from_other_bytes_is_nothing_to_wait_for():
    model = only(rollout(V2), patches=[patch("w0", "w2", ready=False)])
    assert ask(model, facts(accepts=PATCHES)).offered


def test_while_a_patch_is_made_no_older_version_is_given_instead():
    model = only(rollout(V3), rollout(V2), patches=[patch("w1", "w3", ready=False, since=NOW)])
    assert ask(model, facts(accepts=PATCHES)).reason == "patch_building"


# --- classes of device that are held back ---------------------------------------------------------------


def test_a_held_class_of_device_gets_nothing_new_and_is_told_so():
    held = replace(rollout(V2), held=frozenset({"soc=bad"}), strata=frozenset({"soc=bad", "soc=good"}))
    bad, good = facts(attributes={"soc": "bad"}), facts(attributes={"soc": "good"})
    assert ask(only(held), bad).reason == "stratum_held"
    assert ask(only(held), good).offered


def test_where_all_further_classes_are_held_new_ones_are_among_them():
    known = frozenset(f"soc={number}" for number in range(MAX_STRATA))
    held = replace(rollout(V2), held=frozenset({OTHER}), strata=known)
    assert ask(only(held), facts(attributes={"soc": "new"})).reason == "stratum_held"
    assert ask(only(held), facts(attributes={"soc": "3"})).offered


def test_another_rollout_may_have_something_for_a_held_class():
    held = replace(rollout(V3), held=frozenset({""}))
    assert ask(only(held, rollout(V2))).version == V2
