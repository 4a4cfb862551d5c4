from hypothesis import given
from hypothesis import strategies as st

from service.domain.differences import Difference, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_difference_is_named_by_its_place():
    before = {"stages": [{"cohort": "a", "percent": 5}], "priority": 0}
    after = {"stages": [{"cohort": "a", "percent": 10}, {"cohort": "b", "percent": 1}], "priority": 0}
    assert differences(before, after) == [
        Difference("stages.0.percent", 5, 10),
        Difference("stages.1", None, {"cohort": "b", "percent": 1}),
    ]


def test_true_is_not_one_and_a_float_is_its_whole_number():
    assert differences({"a": True}, {"a": 1}) == [Difference("a", True, 1)]
    assert differences({"a": 60.0}, {"a": 60}) == []


@given(JSON)
def test_nothing_differs_from_itself(value):
    assert differences(value, value) == []


@given(JSON, JSON)
def test_differences_are_found_from_either_side(one, other):
    there, back = differences(one, other), differences(other, one)
    assert [(d.path, d.before, d.after) for d in there] == [(d.path, d.after, d.before) for d in back]
