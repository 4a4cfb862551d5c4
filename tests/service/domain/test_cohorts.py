import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.cohorts import BUCKETS, MAX_CLAUSES, MAX_DEPTH, admits, bucket, compile_rule, in_percent
from service.errors import InvalidRule

PHONE = {
    "region": "cn-east",
    "ram_mb": 8192,
    "app_version": "5.2.1",
    "user_group": "internal",
    "metered": False,
    "temperature": 41.5,
}
DEVICES = st.text(min_size=1, max_size=40)
SALTS = st.text(max_size=32)
PERCENTS = st.integers(1, BUCKETS).map(lambda hundredths: hundredths / 100)


def matches(rule, attributes=PHONE, device="d", **kwargs):
    return compile_rule(rule, **kwargs)(device, attributes)


def fault(rule, **kwargs):
    with pytest.raises(InvalidRule) as refusal:
        compile_rule(rule, **kwargs)
    return refusal.value.field


def nested(depth):
    rule = {"attr": "region", "exists": True}
    for _ in range(depth):
        rule = {"not": rule}
    return rule


def test_the_bucket_is_the_one_that_the_contract_describes():
    digest = hashlib.sha256(b"salt\x00dev_12345").digest()
    assert bucket("salt", "dev_12345") == int.from_bytes(digest[:8], "big") % 10_000


def test_the_bucket_of_a_known_device_never_changes_between_releases():
    assert [bucket("s", f"dev_{n}") for n in range(4)] == [888, 6034, 3898, 6052]


@given(SALTS, DEVICES)
@settings(deadline=None)
def test_a_bucket_is_one_of_ten_thousand(salt, device):
    assert 0 <= bucket(salt, device) < BUCKETS


@given(SALTS, DEVICES, PERCENTS, PERCENTS)
@settings(deadline=None)
def test_widening_never_drops_a_device(salt, device, one, other):
    narrow, wide = sorted((one, other))
    assert in_percent(salt, device, narrow) <= in_percent(salt, device, wide)


@given(SALTS, DEVICES)
@settings(deadline=None)
def test_a_hundred_percent_is_everybody(salt, device):
    assert in_percent(salt, device, 100)


@given(st.integers(0, BUCKETS))
@settings(deadline=None)
def test_a_percentage_lets_exactly_its_share_of_the_buckets_in(hundredths):
    share = hundredths / 100
    assert admits(share, hundredths - 1)
    assert not admits(share, hundredths)


def test_a_hundredth_of_a_percent_is_one_bucket():
    assert [place for place in range(BUCKETS) if admits(0.01, place)] == [0]


@pytest.mark.parametrize("percent", [0.07, 1.1, 2.2, 0.57, 33.35])
def test_percentages_that_binary_cannot_hold_let_in_no_extra_bucket(percent):
    assert sum(admits(percent, place) for place in range(BUCKETS)) == round(percent * 100)


def test_a_tenth_of_many_devices_is_about_a_tenth():
    assert 900 < sum(in_percent("salt", f"device-{n}", 10) for n in range(10_000)) < 1100


def test_two_rollouts_pick_different_devices_first():
    first = {n for n in range(2000) if in_percent("a", f"d{n}", 10)}
    second = {n for n in range(2000) if in_percent("b", f"d{n}", 10)}
    assert len(first & second) < len(first) / 2


def test_the_empty_rule_is_everybody():
    assert matches({}, {})


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"in": ["cn-east", "cn-west"]}, True),
        ({"in": ["eu"]}, False),
        ({"eq": "cn-east"}, True),
        ({"ne": "cn-east"}, False),
        ({"ne": "eu"}, True),
        ({"prefix": "cn-"}, True),
        ({"prefix": "eu-"}, False),
        ({"exists": True}, True),
        ({"exists": False}, False),
        ({"gte": 1}, False),
        ({"semver": ">=1"}, False),
    ],
)
def test_text_is_compared_as_text(clause, expected):
    assert matches({"attr": "region", **clause}) is expected


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"gte": 8192}, True),
        ({"gt": 8192}, False),
        ({"lte": 8192}, True),
        ({"lt": 8192}, False),
        ({"gt": 8191.5}, True),
        ({"eq": 8192}, True),
        ({"eq": "8192"}, False),
        ({"in": [4096, 8192]}, True),
        ({"prefix": "81"}, False),
    ],
)
def test_numbers_are_compared_as_numbers(clause, expected):
    assert matches({"attr": "ram_mb", **clause}) is expected


@pytest.mark.parametrize(
    "clause", [{"gte": 1}, {"lte": 10**9}, {"gt": 1}, {"lt": 10**9}, {"eq": 8192}, {"in": [8192]}]
)
def test_a_text_that_looks_like_a_number_is_none_and_matches_no_comparison(clause):
    predicate = compile_rule({"attr": "ram_mb", **clause})
    assert predicate("d1", {"ram_mb": 8192})
    assert not predicate("d1", {"ram_mb": "8192"})


@pytest.mark.parametrize("clause", [{"semver": ">=1"}, {"prefix": "8"}])
def test_a_number_is_no_text_and_no_version(clause):
    assert not compile_rule({"attr": "ram_mb", **clause})("d1", {"ram_mb": 8192})


@pytest.mark.parametrize("clause", [{"eq": 0}, {"in": [0]}, {"gte": 0}, {"lte": 0}])
def test_false_is_not_nought(clause):
    assert not matches({"attr": "metered", **clause})


def test_true_and_false_compare_with_each_other():
    assert matches({"attr": "metered", "eq": False})
    assert not matches({"attr": "metered", "eq": True})


def test_an_app_version_is_compared_as_a_version():
    assert matches({"attr": "app_version", "semver": ">=5.2"})
    assert not matches({"attr": "app_version", "semver": ">=5.10"})


def test_a_value_that_is_no_version_matches_no_range():
    assert not matches({"attr": "app_version", "semver": "*"}, {"app_version": "nightly"})


@pytest.mark.parametrize(
    "clause",
    [
        {"in": ["x"]},
        {"eq": "x"},
        {"ne": "x"},
        {"gte": 0},
        {"lte": 0},
        {"gt": 0},
        {"lt": 0},
        {"semver": "*"},
        {"prefix": ""},
        {"exists": True},
    ],
)
def test_a_missing_attribute_never_matches(clause):
    assert not matches({"attr": "absent", **clause})


def test_absence_can_be_asked_for():
    assert matches({"attr": "absent", "exists": False})


def test_all_any_and_not_combine():
    inside = {"attr": "user_group", "eq": "internal"}
    outside = {"attr": "region", "eq": "eu"}
    assert matches({"any": [outside, inside]})
    assert not matches({"all": [outside, inside]})
    assert matches({"all": [{"not": outside}, inside]})


def test_the_rule_of_the_design_means_its_devices():
    rule = {
        "all": [
            {"attr": "region", "in": ["cn-east"]},
            {"attr": "ram_mb", "gte": 8192},
            {"attr": "app_version", "semver": ">=5.2"},
            {"attr": "user_group", "in": ["internal"]},
        ]
    }
    assert matches(rule)
    assert not matches(rule, PHONE | {"ram_mb": 4096})


def test_a_rule_may_name_another_cohort():
    listed = {"beta": lambda device, _attributes: device == "d1"}
    assert matches({"cohort": "beta"}, device="d1", cohorts=listed)
    assert not matches({"not": {"cohort": "beta"}}, device="d1", cohorts=listed)


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        (None, "rule"),
        ([], "rule"),
        ("all", "rule"),
        ({"every": []}, "rule.every"),
        ({"all": [], "any": []}, "rule"),
        ({"all": []}, "rule.all"),
        ({"any": {}}, "rule.any"),
        ({"not": 1}, "rule.not"),
        ({"cohort": "nobody"}, "rule.cohort"),
        ({"cohort": ["nobody"]}, "rule.cohort"),
        ({"attr": ""}, "rule.attr"),
        ({"attr": 1, "eq": 1}, "rule.attr"),
        ({"attr": "x"}, "rule"),
        ({"attr": "x", "like": 1}, "rule"),
        ({"attr": "x", "eq": 1, "ne": 1}, "rule"),
        ({"attr": "x", "eq": None}, "rule.eq"),
        ({"attr": "x", "eq": [1]}, "rule.eq"),
        ({"attr": "x", "in": []}, "rule.in"),
        ({"attr": "x", "in": "abc"}, "rule.in"),
        ({"attr": "x", "in": list(range(1001))}, "rule.in"),
        ({"attr": "x", "in": [1, {}]}, "rule.in.1"),
        ({"attr": "x", "gte": "8"}, "rule.gte"),
        ({"attr": "x", "gte": True}, "rule.gte"),
        ({"attr": "x", "prefix": 1}, "rule.prefix"),
        ({"attr": "x", "exists": "yes"}, "rule.exists"),
        ({"attr": "x", "semver": 5}, "rule.semver"),
        ({"attr": "x", "semver": ">= "}, "rule.semver"),
        ({"all": [{}, {"any": [{"attr": "x", "like": 1}]}]}, "rule.all.1.any.0"),
        ({"all": [{"not": {"attr": "x", "gt": "y"}}]}, "rule.all.0.not.gt"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_the_path_to_the_fault(rule, place):
    assert fault(rule) == place


def test_a_rule_is_at_most_eight_deep():
    assert matches(nested(MAX_DEPTH))
    assert fault(nested(MAX_DEPTH + 1)) == "rule" + ".not" * (MAX_DEPTH + 1)


def test_a_rule_has_at_most_five_hundred_clauses():
    clause = {"attr": "region", "exists": True}
    assert matches({"all": [clause] * (MAX_CLAUSES - 1)})
    assert fault({"all": [clause] * MAX_CLAUSES}) == f"rule.all.{MAX_CLAUSES - 1}"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["all", "any", "not", "attr", "in", "eq", "semver", "cohort"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(_JSON, st.dictionaries(st.sampled_from(["all", "x", ""]), _JSON, max_size=2))
@settings(deadline=None)
def test_whatever_is_given_as_a_rule_is_answered_or_refused_by_name(rule, attributes):
    try:
        predicate = compile_rule(rule)
    except InvalidRule:
        return
    assert predicate("d", attributes) in (True, False)
