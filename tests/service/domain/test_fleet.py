import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.cohorts import admits, bucket, compile_rule, salt_of
from service.domain.fleet import Key, lens, reach

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
def test_what_is_kept_of_a_value_is_all_that_any_rule_asks_about_it(leaves, value):
    (key,) = lens(leaves, {}).keys
    kept = key.value(key.code(value))
    for leaf in leaves:
        rule = compile_rule(leaf)
        assert rule("d", {"a": kept}) == rule("d", {"a": value})
    assert key.code(kept) == key.code(value)


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
def test_no_more_is_kept_than_the_rules_need(rules, kind):
    (key,) = lens(rules, {}).keys
    assert key.kind == kind


def test_only_rules_that_ask_for_more_than_from_where_on_tell_a_bound_from_what_is_above_it():
    (key,) = lens([{"attr": "a", "gte": 8}], {}).keys
    assert key.code(8) == key.code(9) != key.code(7)
    (key,) = lens([{"attr": "a", "gt": 8}], {}).keys
    assert len({key.code(7), key.code(8), key.code(9)}) == 3


def test_cohorts_are_followed_to_what_they_ask_for_and_to_their_lists():
    rules = {
        "vip": {"any": [{"cohort": "paying"}, {"attr": "plan", "eq": "gold"}]},
        "paying": None,
        "other": {"attr": "colour", "eq": "red"},
    }
    found = lens([{"not": {"cohort": "vip"}}], rules, listed=["paying", "other"])
    assert ([key.name for key in found.keys], found.lists) == (["plan"], ("paying",))


def test_an_attribute_that_something_else_looks_at_is_kept_whole():
    found = lens([{"attr": "timezone", "eq": "UTC"}], {}, whole=["timezone"])
    assert found.keys == (Key("timezone", "text"),)


@given(st.floats(0.01, 100), st.text("abc", min_size=1))
def test_a_percentage_reaches_as_many_buckets_as_polls_admit(percent, device):
    place = bucket("salt", device)
    assert (place < reach(percent)) == admits(percent, place)


def test_buckets_are_cut_only_where_an_answer_may_change():
    assert lens([], {}, percents={"s": [1, 100, 50, 1], "t": [100]}).cuts == (("s", (100, 5000)),)


def test_the_salt_is_the_names_own():
    assert salt_of("autumn") == salt_of("autumn") != salt_of("spring")
