from hypothesis import given
from hypothesis import strategies as st

from service.domain import offers
from service.domain.catalogue import Stage
from service.domain.cohorts import compile_rule
from service.domain.offers import ask, decide
from service.domain.prospects import MAX_KEPT, MAX_KEPT_TEXT, prospects
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


def lit(name):
    return stage({"attr": name, "eq": True})


def test_values_that_python_takes_for_equal_are_of_different_classes():
    served = line(
        VERSIONS, [rollout(VERSIONS[1], lit("on")), rollout(VERSIONS[1], stage({"attr": "on", "eq": 1}))]
    )
    view = prospects(served, VERSIONS[0])
    for _ in range(2):
        assert view.to_ask(served, "d1", {"on": True}) == ([0], None)
        assert view.to_ask(served, "d1", {"on": 1}) == ([1], None)
        assert view.to_ask(served, "d1", {"on": 1.0}) == ([1], None)
        assert view.to_ask(served, "d1", {"on": False}) == ([], None)
        assert view.to_ask(served, "d1", {"on": 0}) == ([], None)


def test_an_attribute_that_is_absent_is_not_one_that_is_nothing():
    served = line(VERSIONS, [rollout(VERSIONS[1], stage({"attr": "on", "exists": True}))])
    view = prospects(served, VERSIONS[0])
    for _ in range(2):
        assert view.to_ask(served, "d1", {}) == ([], None)
        assert view.to_ask(served, "d1", {"on": None}) == ([0], None)


def test_what_no_rule_can_compare_is_asked_about_all_the_same():
    served = line(VERSIONS, [rollout(VERSIONS[1], stage({"attr": "on", "exists": True}))])
    assert prospects(served, VERSIONS[0]).to_ask(served, "d1", {"on": ["a"]}) == ([0], None)


def test_a_list_is_asked_for_each_device_of_a_class():
    listed = Stage("testers", lambda device_id, _attributes: device_id in {"d1", "d2"}, 100.0)
    inside = compile_rule(
        {"all": [{"cohort": "testers"}, {"attr": "on", "eq": True}]}, {"testers": listed.matches}
    )
    both = Stage("both", inside, 100.0)
    served = line(
        VERSIONS, [rollout(VERSIONS[1], listed), rollout(VERSIONS[1], both), rollout(VERSIONS[1], lit("on"))]
    )
    view = prospects(served, VERSIONS[0])
    assert view.to_ask(served, "d1", {"on": True}) == ([0, 1, 2], None)
    assert view.to_ask(served, "d3", {"on": True}) == ([2], None)
    assert view.to_ask(served, "d2", {"on": False}) == ([0], None)


def test_devices_cannot_fill_the_memory_with_classes_of_their_own():
    served = line(VERSIONS, [rollout(VERSIONS[1], lit("on"))])
    view = prospects(served, VERSIONS[0])
    for number in range(3 * MAX_KEPT):
        assert view.to_ask(served, "d1", {"on": f"{number}"}) == ([], None)
        assert view.to_ask(served, "d1", {"on": "x" * (MAX_KEPT_TEXT + number + 1)}) == ([], None)
    assert len(view._classes) <= MAX_KEPT
    assert all(len(key[0]) <= MAX_KEPT_TEXT for key in view._classes)


anything = st.recursive(
    st.builds(dict)
    | st.builds(
        lambda attr, operator, value: {"attr": attr, operator: value},
        st.sampled_from("abc"),
        st.sampled_from(["eq", "ne"]),
        st.sampled_from([True, False, 0, 1, "1", ""]),
    )
    | st.builds(lambda attr, there: {"attr": attr, "exists": there}, st.sampled_from("abc"), st.booleans()),
    lambda inner: (
        st.builds(
            lambda word, parts: {word: parts},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda part: {"not": part}, inner)
    ),
    max_leaves=5,
)
said = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([True, False, 0, 1, 1.0, "1", ""]))


@given(st.lists(anything, min_size=1, max_size=5), st.lists(said, min_size=1, max_size=12))
def test_a_class_that_was_seen_before_is_in_the_cohorts_that_its_rules_say(rules, devices):
    served = line(VERSIONS, [rollout(VERSIONS[1], stage(rule)) for rule in rules])
    view = prospects(served, VERSIONS[0])
    for attributes in [*devices, *devices]:
        meant = [at for at, rule in enumerate(rules) if compile_rule(rule)("d1", attributes)]
        assert view.to_ask(served, "d1", attributes) == (meant, None)
