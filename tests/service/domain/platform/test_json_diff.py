from hypothesis import given
from hypothesis import strategies as st

from service.domain.platform.json_diff import Difference, json_diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_difference_has_its_path():
    before = {"stages": [{"cohort": "a", "percent": 5}], "priority": 0}
    after = {"stages": [{"cohort": "a", "percent": 10}, {"cohort": "b", "percent": 1}], "priority": 0}
    assert json_diff(before, after) == [
        Difference("stages.0.percent", 5, 10),
        Difference("stages.1", None, {"cohort": "b", "percent": 1}),
    ]


def test_true_differs_from_one_and_a_whole_float_equals_its_integer():
    assert json_diff({"a": True}, {"a": 1}) == [Difference("a", True, 1)]
    assert json_diff({"a": 60.0}, {"a": 60}) == []


@given(JSON)
def test_a_value_does_not_differ_from_itself(value):
    assert json_diff(value, value) == []


@given(JSON, JSON)
def test_differences_are_symmetric(one, other):
    there, back = json_diff(one, other), json_diff(other, one)
    assert [(d.path, d.before, d.after) for d in there] == [(d.path, d.after, d.before) for d in back]
