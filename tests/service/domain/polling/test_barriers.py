import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.polling.offers import decide
from tests.service.domain.builders import (
    DECISION_TIME,
    device_context,
    digest,
    model_view,
    rollout,
    stage,
    variant,
    version,
)

NO_DEVICE = {"attr": "user_group", "eq": "none"}
V1, V2, V3, V4 = version(1), version(2, barrier=True), version(3), version(4, barrier=True)
ALL = (V1, V2, V3, V4)


def decision_for(device, *rollouts, versions=ALL):
    return decide(model_view(versions, rollouts), device, DECISION_TIME)


def test_a_device_below_a_barrier_gets_it_before_anything_newer():
    newest, release = rollout(V3), rollout(V2, state="completed")
    decision = decision_for(device_context("v1"), newest, release)
    assert (decision.version, decision.rollout) == (V2, release)
    assert decision_for(device_context("v2"), newest, release).version is V3


def test_the_next_of_several_barriers_comes_first():
    rollouts = [rollout(item, state="completed") for item in (V4, V3, V2)]
    assert [decision_for(device_context(at), *rollouts).version for at in ("v1", "v2", "v3")] == [V2, V4, V4]


@pytest.mark.parametrize(
    "release",
    [(), (rollout(V2, stage(NO_DEVICE)),), (rollout(V2, state="paused"),)],
    ids=["none", "other-devices", "paused"],
)
def test_a_device_waits_for_a_barrier_that_is_not_offered(release):
    decision = decision_for(device_context("v1"), rollout(V3), *release)
    assert (decision.reason, decision.action) == ("behind_barrier", "none")


def test_another_refusal_takes_precedence_over_the_barrier():
    assert decision_for(device_context("v1"), rollout(V3, stage(NO_DEVICE))).reason == "not_in_cohort"
    assert decision_for(device_context("v1"), rollout(V3, state="paused")).reason == "paused"


def test_a_device_without_a_model_is_not_behind_a_barrier():
    assert decision_for(device_context(current=None), rollout(V3)).version is V3


def test_an_unknown_version_is_below_all_barriers():
    assert decision_for(device_context("custom"), rollout(V3), rollout(V2)).version is V2
    files_only = device_context(current=None, components={"weights": digest("mine")})
    assert decision_for(files_only, rollout(V3), rollout(V2)).version is V2


def test_versions_up_to_the_barrier_are_offered():
    assert decision_for(device_context("v1"), rollout(V2), versions=(V1, V2)).version is V2
    assert decision_for(device_context("v2"), rollout(V3), versions=(V1, V2, V3)).version is V3


def test_a_revoked_version_is_no_barrier():
    gone = version(2, barrier=True, revoked=True)
    assert decision_for(device_context("v1"), rollout(V3), versions=(V1, gone, V3)).version is V3


def test_a_device_on_a_revoked_version_does_not_skip_a_barrier():
    bad = version(1, revoked=True)
    done = [rollout(V3, state="completed"), rollout(V2, state="completed")]
    assert decision_for(device_context("v1"), *done, versions=(bad, V2, V3)).version is V2
    only_newer = decision_for(device_context("v1"), done[0], versions=(bad, V2, V3))
    assert (only_newer.reason, only_newer.action) == ("revoked", "pause")


STATES = st.sampled_from(["running", "completed", "paused", "halted", "scheduled", "rolled_back"])


@st.composite
def models_and_versions(draw):
    """A model of up to six versions with floors, barriers and revocations, and rollouts of some of them."""
    count = draw(st.integers(1, 6))
    versions = [
        version(
            counter,
            variant({"weights": f"w{counter}"}, rule=draw(st.sampled_from([{}, {}, NO_DEVICE]))),
            floor=draw(st.integers(0, counter)),
            barrier=draw(st.booleans()),
            revoked=draw(st.integers(0, 3)) == 0,
        )
        for counter in range(1, count + 1)
    ]
    targets = draw(st.lists(st.sampled_from(versions), max_size=5))
    rollouts = [rollout(item, state=draw(STATES), salt=f"s{index}") for index, item in enumerate(targets)]
    current = draw(st.sampled_from([None, "custom", *(item.label for item in versions)]))
    return model_view(versions, rollouts), current


@given(models_and_versions(), st.integers(0, 50))
@settings(deadline=None, max_examples=400)
def test_no_device_is_offered_a_version_below_its_floor_or_past_a_barrier(drawn, number):
    model, label = drawn
    decision = decide(model, device_context(label, device_id=f"d{number}"), DECISION_TIME)
    running = model.versions.get(label or "")
    if not decision.offered:
        return
    assert decision.version is not None
    if running is not None:
        assert decision.version.counter >= running.floor
    if label is not None:
        counter = running.counter if running else 0
        skipped = [
            item
            for item in model.versions.values()
            if item.barrier and not item.revoked and counter < item.counter < decision.version.counter
        ]
        assert not skipped
    assert not decision.version.revoked
    assert decision.rollout is None or decision.rollout.state in {"running", "completed", "rolled_back"}
