import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_contract import strict_json
from sdk_contract.errors import ContractError, Malformed, Oversize
from sdk_contract.strict_json import MAX_DEPTH, MAX_INTEGER

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def loads(data, limit=1 << 20):
    return strict_json.loads(data, limit=limit)


@given(VALUES)
@settings(deadline=None)
def test_what_is_written_is_read_back_the_same(value):
    written = strict_json.dumps(value)
    assert loads(written) == value
    assert strict_json.dumps(loads(written)) == written


def test_there_is_one_byte_form():
    assert strict_json.dumps({"b": 1, "a": ["é", None, True]}) == '{"a":["é",null,true],"b":1}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b"// comment\n1",
        b'"\xff"',
        b"\xef\xbb\xbf1",
        b"1 2",
        b"0x10",
        b"01",
        b'"\x00"',
        b'"\n"',
    ],
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(Malformed):
        loads(data)


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'{"a":1,"\\u0061":1}', b'[{"x":{"k":0,"k":0}}]'])
def test_a_key_that_stands_twice_is_refused(data):
    with pytest.raises(Malformed, match="twice"):
        loads(data)


def test_the_same_key_in_two_objects_is_no_repetition():
    assert loads(b'[{"a":1},{"a":2}]') == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("number", [b"1.0", b"-0.5", b"1e3", b"1E400", b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_no_integer_is_refused(number):
    with pytest.raises(Malformed):
        loads(b'{"a":' + number + b"}")


def test_integers_reach_as_far_as_every_library_keeps_them_exactly():
    assert loads(b"[9007199254740991,-9007199254740991]") == [MAX_INTEGER, -MAX_INTEGER]
    for beyond in (b"9007199254740992", b"-9007199254740992", b"9" * 5000):
        with pytest.raises(Malformed):
            loads(beyond)


def test_eight_levels_are_deep_enough():
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(Malformed, match="deeper"):
        loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_objects_and_lists_count_alike_for_depth():
    with pytest.raises(Malformed, match="deeper"):
        loads(b'{"a":[' * 5 + b"1" + b"]}" * 5)


def test_brackets_in_text_are_no_depth():
    text = '[{"\\' * 50
    assert loads(json.dumps(text).encode()) == text


def test_depth_is_refused_before_a_parser_could_recurse():
    with pytest.raises(Malformed, match="deeper"):
        loads(b"[" * 500_000)


def test_the_bound_counts_bytes_and_is_checked_first():
    assert loads(b'"ab"', limit=4) == "ab"
    with pytest.raises(Oversize):
        loads(b'"abc"', limit=4)
    with pytest.raises(Oversize):
        loads(b"[" * 100, limit=99)


@pytest.mark.parametrize("data", [b'"\\ud800"', b'"\\udc00"', b'{"\\ud83d":1}', b'"\\ude00\\ud83d"'])
def test_half_a_surrogate_pair_is_refused(data):
    with pytest.raises(Malformed):
        loads(data)


def test_a_whole_surrogate_pair_is_a_character():
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("data", [b'"' + b'\\"' * 1_000_000, b'"' * 2_000_001, b'"' + b"\\" * 2_000_001])
def test_text_that_never_ends_is_refused_in_linear_time(data):
    # Were each quote in it tried as a beginning, a million of them would take hours.
    with pytest.raises(Malformed):
        loads(data, limit=len(data))


@given(st.binary(max_size=200) | st.text('{}[]",:\\0u1a', max_size=60).map(str.encode))
@settings(deadline=None)
def test_no_bytes_whatever_give_anything_but_a_value_or_a_named_refusal(data):
    try:
        value = loads(data)
    except ContractError:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_has_no_byte_form_is_not_written(value):
    with pytest.raises(Malformed):
        strict_json.dumps({"a": value})
