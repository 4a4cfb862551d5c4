"""The memory of rollout indexes: it must never change what an index finds."""

from hypothesis import given
from hypothesis import strategies as st

from service.domain.targeting.rules import compile_rule
from service.serving.snapshots.rollout_indexes import (
    MAX_REMEMBERED,
    MAX_REMEMBERED_TEXT,
    RememberedIndexes,
)
from tests.service.domain.builders import rollout, stage, version

OLD, NEW = version(1), version(2)


def index_for(*rules):
    rollouts = tuple(rollout(NEW, stage(rule)) for rule in rules)
    return RememberedIndexes(rollouts).index_for(OLD)


def test_an_index_is_built_once_per_running_version():
    indexes = RememberedIndexes((rollout(NEW),))
    assert indexes.index_for(OLD) is indexes.index_for(OLD)
    assert indexes.index_for(None) is not indexes.index_for(OLD)


def test_values_that_python_considers_equal_are_kept_apart():
    index = index_for({"attr": "on", "eq": True}, {"attr": "on", "eq": 1})
    for _ in range(2):
        assert index.candidates("d1", {"on": True}) == ([0], None)
        assert index.candidates("d1", {"on": 1}) == ([1], None)
        assert index.candidates("d1", {"on": 1.0}) == ([1], None)
        assert index.candidates("d1", {"on": False}) == ([], None)
        assert index.candidates("d1", {"on": 0}) == ([], None)


def test_an_absent_attribute_is_not_null():
    index = index_for({"attr": "on", "exists": True})
    for _ in range(2):
        assert index.candidates("d1", {}) == ([], None)
        assert index.candidates("d1", {"on": None}) == ([0], None)


def test_a_value_that_cannot_be_remembered_is_evaluated():
    index = index_for({"attr": "on", "exists": True})
    assert index.candidates("d1", {"on": ["a"]}) == ([0], None)


def test_devices_cannot_fill_the_memory_with_values_of_their_own():
    index = index_for({"attr": "on", "eq": True})
    for number in range(3 * MAX_REMEMBERED):
        assert index.candidates("d1", {"on": f"{number}"}) == ([], None)
        assert index.candidates("d1", {"on": "x" * (MAX_REMEMBERED_TEXT + number + 1)}) == ([], None)
    assert len(index._cohorts) <= MAX_REMEMBERED
    assert all(len(key[0]) <= MAX_REMEMBERED_TEXT for key in index._cohorts)


any_rule = st.recursive(
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
            lambda keyword, parts: {keyword: parts},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda part: {"not": part}, inner)
    ),
    max_leaves=5,
)
reported = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([True, False, 0, 1, 1.0, "1", ""]))


@given(st.lists(any_rule, min_size=1, max_size=5), st.lists(reported, min_size=1, max_size=12))
def test_remembered_attributes_lead_to_the_cohorts_whose_rules_match(rules, devices):
    index = index_for(*rules)
    for attributes in [*devices, *devices]:
        matching = [at for at, rule in enumerate(rules) if compile_rule(rule)("d1", attributes)]
        assert index.candidates("d1", attributes) == (matching, None)
