from hypothesis import given
from hypothesis import strategies as st

from service.domain import offers
from service.domain.offers import ask, decide
from service.domain.prospects import prospects
from tests.service.domain.lines import WHEN, facts, line, rollout, stage, version

RULES = [{}, {"attr": "region", "eq": "a"}, {"attr": "region", "eq": "b"}, {"attr": "ram", "gte": 8}]
VERSIONS = [version(1), version(2), version(3), version(4, revoked=True)]
STAGES = [stage(RULES[which], percent) for which in range(4) for percent in (0.01, 30.0, 100.0)]

stages = st.lists(st.sampled_from(STAGES), min_size=1, max_size=3)
rollouts = st.builds(
    lambda target, held, state, at, salt, holdback: rollout(
        target, *held, state=state, at=min(at, len(held) - 1), salt=salt, holdback_percent=holdback
    ),
    st.sampled_from(VERSIONS),
    stages,
    st.sampled_from(["running", "paused", "halted", "scheduled", "completed"]),
    st.integers(0, 2),
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from([0, 0, 30]),
)
devices = st.builds(
    lambda current, name, region, ram: facts(
        current, device_id=name, attributes={"region": region, "ram": ram}
    ),
    st.sampled_from([None, "v1", "v2", "v3", "v9"]),
    st.text("abc", min_size=1, max_size=8),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([4, 16]),
)


def one_after_the_other(served, device):
    """The decision as it is defined: every rollout is asked, in order."""
    current = served.versions.get(device.current or "")
    refusals = []
    for item in served.rollouts:
        decision = ask(served, item, current, device, WHEN)
        if decision.offered or decision.reason in offers._FINAL:
            return decision
        refusals.append(decision)
    telling = offers._TELLING.index
    return max(refusals, key=lambda decision: telling(decision.reason), default=offers.Decision("no_rollout"))


@given(st.lists(rollouts, max_size=6), devices)
def test_asking_few_rollouts_decides_as_asking_all_of_them(held, device):
    served = line(VERSIONS, held)
    assert decide(served, device, WHEN) == one_after_the_other(served, device)


def test_a_device_is_asked_about_the_rollouts_of_its_own_cohorts_only():
    region = [stage({"attr": "region", "eq": f"r{number}"}) for number in range(100)]
    served = line(VERSIONS, [rollout(VERSIONS[1], one) for one in region])
    view = prospects(served, VERSIONS[0])
    assert view.to_ask(served, "d1", {"region": "r7"}) == ([7], None)
    assert view.to_ask(served, "d1", {}) == ([], None)


def test_of_many_stages_that_are_not_open_the_first_says_so_for_all():
    ahead = [stage(RULES[1]), stage(RULES[0])]
    served = line(VERSIONS, [rollout(VERSIONS[1], *ahead) for _ in range(50)])
    assert prospects(served, VERSIONS[0]).to_ask(served, "d1", {}) == ([], 0)
    assert decide(served, facts("v1"), WHEN).reason == "not_in_stage"


def test_what_is_no_news_to_a_version_is_not_asked_of_any_device_that_runs_it():
    served = line(VERSIONS, [rollout(VERSIONS[1])] * 3)
    assert prospects(served, VERSIONS[2]).to_ask(served, "d1", {}) == ([], None)
    assert decide(served, facts("v3"), WHEN).reason == "downgrade"
