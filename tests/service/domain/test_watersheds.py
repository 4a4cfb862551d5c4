import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.offers import decide
from tests.service.domain.lines import WHEN, digest, facts, line, rollout, stage, variant, version

NOBODY = {"attr": "user_group", "eq": "nobody"}
V1, V2, V3, V4 = version(1), version(2, watershed=True), version(3), version(4, watershed=True)
ALL = (V1, V2, V3, V4)


def ask(device, *rollouts, versions=ALL):
    return decide(line(versions, rollouts), device, WHEN)


def test_a_device_below_a_watershed_gets_it_before_anything_newer():
    newest, release = rollout(V3), rollout(V2, state="completed")
    decision = ask(facts("v1"), newest, release)
    assert (decision.version, decision.rollout) == (V2, release)
    assert ask(facts("v2"), newest, release).version is V3


def test_of_several_watersheds_the_next_one_comes_first():
    rollouts = [rollout(item, state="completed") for item in (V4, V3, V2)]
    assert [ask(facts(at), *rollouts).version for at in ("v1", "v2", "v3")] == [V2, V4, V4]


@pytest.mark.parametrize(
    "release",
    [(), (rollout(V2, stage(NOBODY)),), (rollout(V2, state="paused"),)],
    ids=["none", "others", "paused"],
)
def test_where_the_watershed_is_not_on_offer_the_reason_says_so(release):
    decision = ask(facts("v1"), rollout(V3), *release)
    assert (decision.reason, decision.action) == ("below_floor", "none")


def test_a_device_that_would_not_get_the_newer_version_anyway_hears_why():
    assert ask(facts("v1"), rollout(V3, stage(NOBODY))).reason == "not_in_cohort"
    assert ask(facts("v1"), rollout(V3, state="paused")).reason == "paused"


def test_a_device_without_a_model_skips_nothing():
    assert ask(facts(current=None), rollout(V3)).version is V3


def test_a_device_that_runs_something_unknown_is_below_all_watersheds():
    assert ask(facts("custom"), rollout(V3), rollout(V2)).version is V2
    files_only = facts(current=None, components={"weights": digest("mine")})
    assert ask(files_only, rollout(V3), rollout(V2)).version is V2


def test_versions_up_to_the_watershed_are_offered_as_ever():
    assert ask(facts("v1"), rollout(V2), versions=(V1, V2)).version is V2
    assert ask(facts("v2"), rollout(V3), versions=(V1, V2, V3)).version is V3


def test_a_revoked_watershed_is_none():
    gone = version(2, watershed=True, revoked=True)
    assert ask(facts("v1"), rollout(V3), versions=(V1, gone, V3)).version is V3


def test_who_flees_a_revoked_version_does_not_skip_a_watershed_either():
    bad = version(1, revoked=True)
    done = [rollout(V3, state="completed"), rollout(V2, state="completed")]
    assert ask(facts("v1"), *done, versions=(bad, V2, V3)).version is V2
    only_newer = ask(facts("v1"), done[0], versions=(bad, V2, V3))
    assert (only_newer.reason, only_newer.action) == ("revoked", "hold")


STATES = st.sampled_from(["running", "completed", "paused", "halted", "scheduled", "rolled_back"])


@st.composite
def worlds(draw):
    """A line of up to six versions with floors, watersheds and revocations, and rollouts of some of them."""
    count = draw(st.integers(1, 6))
    versions = [
        version(
            counter,
            variant({"weights": f"w{counter}"}, rule=draw(st.sampled_from([{}, {}, NOBODY]))),
            floor=draw(st.integers(0, counter)),
            watershed=draw(st.booleans()),
            revoked=draw(st.integers(0, 3)) == 0,
        )
        for counter in range(1, count + 1)
    ]
    targets = draw(st.lists(st.sampled_from(versions), max_size=5))
    rollouts = [rollout(item, state=draw(STATES), salt=f"s{index}") for index, item in enumerate(targets)]
    current = draw(st.sampled_from([None, "custom", *(item.label for item in versions)]))
    return line(versions, rollouts), current


@given(worlds(), st.integers(0, 50))
@settings(deadline=None, max_examples=400)
def test_no_device_is_offered_a_version_below_its_floor_or_past_a_watershed(world, number):
    model, label = world
    decision = decide(model, facts(label, device_id=f"d{number}"), WHEN)
    running = model.versions.get(label or "")
    if not decision.offered:
        return
    if running is not None:
        assert decision.version.counter >= running.floor
    if label is not None:
        counter = running.counter if running else 0
        skipped = [
            item
            for item in model.versions.values()
            if item.watershed and not item.revoked and counter < item.counter < decision.version.counter
        ]
        assert not skipped
    assert not decision.version.revoked
    assert decision.rollout is None or decision.rollout.state in {"running", "completed", "rolled_back"}
