from hypothesis import given
from hypothesis import strategies as st

from service.domain.catalog import Stage
from service.domain.polling import offers
from service.domain.polling.decisions import Decision
from service.domain.polling.offers import decide, evaluate_rollout
from service.domain.polling.refusals import LEAST_TO_MOST_SPECIFIC
from service.domain.polling.rollout_index import RolloutIndex
from service.domain.targeting.rules import compile_rule
from service.serving.snapshots.rollout_indexes import RememberedIndexes
from tests.service.domain.builders import (
    DECISION_TIME,
    device_context,
    model_view,
    rollout,
    stage,
    version,
)

RULES = [{}, {"attr": "region", "eq": "a"}, {"attr": "region", "eq": "b"}, {"attr": "ram", "gte": 8}]
VERSIONS = [version(1), version(2), version(3), version(4, revoked=True)]
STAGES = [stage(RULES[which], percent) for which in range(4) for percent in (0.01, 30.0, 100.0)]

stages = st.lists(st.sampled_from(STAGES), min_size=1, max_size=3)
rollouts = st.builds(
    lambda target, chosen, state, at, salt, holdout: rollout(
        target, *chosen, state=state, at=min(at, len(chosen) - 1), salt=salt, holdout_percent=holdout
    ),
    st.sampled_from(VERSIONS),
    stages,
    st.sampled_from(["running", "paused", "halted", "scheduled", "completed"]),
    st.integers(0, 2),
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from([0, 0, 30]),
)
devices = st.builds(
    lambda current, name, region, ram: device_context(
        current, device_id=name, attributes={"region": region, "ram": ram}
    ),
    st.sampled_from([None, "v1", "v2", "v3", "v9"]),
    st.text("abc", min_size=1, max_size=8),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([4, 16]),
)


def decide_without_index(model, device):
    """The definition of the decision: evaluate every rollout, in order."""
    current = model.versions.get(device.current or "")
    refusals = []
    for item in model.rollouts:
        decision = evaluate_rollout(model, item, current, device, DECISION_TIME)
        if decision.offered or decision.reason in offers._DECISIVE_REFUSALS:
            return decision
        refusals.append(decision)
    rank = LEAST_TO_MOST_SPECIFIC.index
    return max(refusals, key=lambda decision: rank(decision.reason), default=Decision("no_rollout"))


def index_for(served, current):
    return RolloutIndex.build(served.rollouts, current)


@given(st.lists(rollouts, max_size=6), devices)
def test_the_index_leads_to_the_same_decision_as_evaluating_every_rollout(chosen, device):
    model = model_view(VERSIONS, chosen)
    expected = decide_without_index(model, device)
    indexes = RememberedIndexes(model.rollouts)
    assert decide(model, device, DECISION_TIME) == expected
    assert decide(model, device, DECISION_TIME, indexes) == expected
    assert decide(model, device, DECISION_TIME, indexes) == expected, "from memory"


def test_only_rollouts_of_the_devices_own_cohorts_are_candidates():
    region = [stage({"attr": "region", "eq": f"r{number}"}) for number in range(100)]
    index = index_for(model_view(VERSIONS, [rollout(VERSIONS[1], one) for one in region]), VERSIONS[0])
    assert index.candidates("d1", {"region": "r7"}) == ([7], None)
    assert index.candidates("d1", {}) == ([], None)


def test_the_first_of_many_closed_stages_refuses_for_all():
    ahead = [stage(RULES[1]), stage(RULES[0])]
    model = model_view(VERSIONS, [rollout(VERSIONS[1], *ahead) for _ in range(50)])
    assert index_for(model, VERSIONS[0]).candidates("d1", {}) == ([], 0)
    decision = decide(model, device_context("v1"), DECISION_TIME)
    assert (decision.reason, decision.rollout) == ("not_in_stage", model.rollouts[0])


def test_rollouts_of_a_version_that_is_not_newer_are_no_candidates():
    model = model_view(VERSIONS, [rollout(VERSIONS[1])] * 3)
    assert index_for(model, VERSIONS[2]).candidates("d1", {}) == ([], None)
    assert decide(model, device_context("v3"), DECISION_TIME).reason == "downgrade"


def test_an_explicit_list_is_evaluated_for_each_device():
    listed = Stage("testers", lambda device_id, _attributes: device_id in {"d1", "d2"}, 100.0)
    rule = {"all": [{"cohort": "testers"}, {"attr": "on", "eq": True}]}
    both = Stage("both", compile_rule(rule, {"testers": listed.matches}), 100.0)
    on = stage({"attr": "on", "eq": True})
    model = model_view(VERSIONS, [rollout(VERSIONS[1], one) for one in (listed, both, on)])
    index = index_for(model, VERSIONS[0])
    assert index.candidates("d1", {"on": True}) == ([0, 1, 2], None)
    assert index.candidates("d3", {"on": True}) == ([2], None)
    assert index.candidates("d2", {"on": False}) == ([0], None)
