import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.fleet.grouping import GroupingKey, grouping_for
from service.domain.targeting.rules import compile_rule

VALUES = st.one_of(
    st.integers(-20, 20),
    st.floats(-20, 20, allow_nan=False).map(lambda number: round(number, 1)),
    st.booleans(),
    st.sampled_from(["eu", "us", "", "5", "true", "5.2.0", "~"]),
)
NUMBERS = st.sampled_from([-3, 0, 4, 8, 8.5])
LEAVES = st.one_of(
    st.builds(lambda o, v: {"attr": "a", o: v}, st.sampled_from(["eq", "ne"]), VALUES),
    st.builds(lambda v: {"attr": "a", "in": v}, st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(lambda o, v: {"attr": "a", o: v}, st.sampled_from(["gte", "lte", "gt", "lt"]), NUMBERS),
    st.builds(lambda v: {"attr": "a", "semver": v}, st.sampled_from([">=5.2", "<6"])),
    st.builds(lambda v: {"attr": "a", "prefix": v}, st.sampled_from(["e", ""])),
    st.builds(lambda v: {"attr": "a", "exists": v}, st.booleans()),
)


@given(st.lists(LEAVES, min_size=1, max_size=4), VALUES)
def test_a_representative_value_matches_every_rule_as_the_original_does(leaves, value):
    (key,) = grouping_for(leaves, {}).keys
    representative = key.value(key.code(value))
    for leaf in leaves:
        rule = compile_rule(leaf)
        assert rule("d", {"a": representative}) == rule("d", {"a": value})
    assert key.code(representative) == key.code(value)


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ([{"attr": "a", "in": ["eu", "us"]}, {"attr": "a", "exists": True}], "words"),
        ([{"attr": "a", "gte": 8192}, {"attr": "a", "lt": 4096}], "numbers"),
        ([{"attr": "a", "eq": "5"}], "text"),
        ([{"attr": "a", "eq": "eu"}, {"attr": "a", "gte": 5}], "text"),
        ([{"attr": "a", "semver": ">=5.2"}], "text"),
    ],
)
def test_a_key_keeps_no_more_than_the_rules_need(rules, kind):
    (key,) = grouping_for(rules, {}).keys
    assert key.kind == kind


def test_a_bound_is_distinguished_from_values_above_it_only_if_a_rule_needs_it():
    (key,) = grouping_for([{"attr": "a", "gte": 8}], {}).keys
    assert key.code(8) == key.code(9) != key.code(7)
    (key,) = grouping_for([{"attr": "a", "gt": 8}], {}).keys
    assert len({key.code(7), key.code(8), key.code(9)}) == 3


def test_cohorts_contribute_their_attributes_and_lists():
    rules = {
        "vip": {"any": [{"cohort": "paying"}, {"attr": "plan", "eq": "gold"}]},
        "paying": None,
        "other": {"attr": "color", "eq": "red"},
    }
    found = grouping_for([{"not": {"cohort": "vip"}}], rules, listed=["paying", "other"])
    assert ([key.name for key in found.keys], found.lists) == (["plan"], ("paying",))


def test_an_attribute_that_is_used_outside_rules_is_kept_whole():
    found = grouping_for([{"attr": "timezone", "eq": "UTC"}], {}, whole=["timezone"])
    assert found.keys == (GroupingKey("timezone", "text"),)


def test_buckets_are_divided_only_where_a_decision_may_change():
    assert grouping_for([], {}, percents={"s": [1, 100, 50, 1], "t": [100]}).bucket_bounds == (
        ("s", (100, 5000)),
    )
