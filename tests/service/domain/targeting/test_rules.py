import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.targeting.rules import MAX_CLAUSES, MAX_DEPTH, compile_rule
from service.errors import InvalidRule

PHONE = {
    "region": "cn-east",
    "ram_mb": 8192,
    "app_version": "5.2.1",
    "user_group": "internal",
    "metered": False,
    "temperature": 41.5,
}


def matches(rule, attributes=PHONE, device="d", **kwargs):
    return compile_rule(rule, **kwargs)(device, attributes)


def fault(rule, **kwargs):
    with pytest.raises(InvalidRule) as refused:
        compile_rule(rule, **kwargs)
    return refused.value.field


def nested(depth):
    rule = {"attr": "region", "exists": True}
    for _ in range(depth):
        rule = {"not": rule}
    return rule


def test_the_empty_rule_matches_every_device():
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
def test_a_text_that_looks_like_a_number_matches_no_comparison(clause):
    predicate = compile_rule({"attr": "ram_mb", **clause})
    assert predicate("d1", {"ram_mb": 8192})
    assert not predicate("d1", {"ram_mb": "8192"})


@pytest.mark.parametrize("clause", [{"semver": ">=1"}, {"prefix": "8"}])
def test_a_number_is_neither_text_nor_a_version(clause):
    assert not compile_rule({"attr": "ram_mb", **clause})("d1", {"ram_mb": 8192})


@pytest.mark.parametrize("clause", [{"eq": 0}, {"in": [0]}, {"gte": 0}, {"lte": 0}])
def test_false_is_not_zero(clause):
    assert not matches({"attr": "metered", **clause})


def test_booleans_are_compared_with_booleans():
    assert matches({"attr": "metered", "eq": False})
    assert not matches({"attr": "metered", "eq": True})


def test_an_app_version_is_compared_as_a_version():
    assert matches({"attr": "app_version", "semver": ">=5.2"})
    assert not matches({"attr": "app_version", "semver": ">=5.10"})


def test_a_value_that_is_not_a_version_matches_no_range():
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


def test_a_rule_can_require_absence():
    assert matches({"attr": "absent", "exists": False})


def test_all_any_and_not_combine():
    inside = {"attr": "user_group", "eq": "internal"}
    outside = {"attr": "region", "eq": "eu"}
    assert matches({"any": [outside, inside]})
    assert not matches({"all": [outside, inside]})
    assert matches({"all": [{"not": outside}, inside]})


def test_the_example_rule_matches_its_devices():
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
    ("rule", "path"),
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
def test_an_invalid_rule_is_refused_with_the_path_of_the_fault(rule, path):
    assert fault(rule) == path


def test_a_rule_has_at_most_eight_levels():
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
def test_any_json_is_compiled_or_refused(rule, attributes):
    try:
        predicate = compile_rule(rule)
    except InvalidRule:
        return
    assert predicate("d", attributes) in (True, False)
