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
def test_serialized_values_are_parsed_back_unchanged(value):
    written = strict_json.dumps(value)
    assert loads(written) == value
    assert strict_json.dumps(loads(written)) == written


def test_serialization_sorts_keys_and_omits_whitespace():
    assert strict_json.dumps({"b": 1, "a": ["é", None, True]}) == '{"a":["é",null,true],"b":1}'.encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1,]", "Expecting value"),
        (b"{'a':1}", "Expecting property name"),
        (b"// comment\n1", "Expecting value"),
        (b'"\xff"', "'utf-8' codec can't decode"),
        (b"\xef\xbb\xbf1", "Expecting value"),
        (b"1 2", "Extra data"),
        (b"0x10", "Extra data"),
        (b"01", "Extra data"),
        (b'"\x00"', "Invalid control character"),
        (b'"\n"', "Invalid control character"),
    ],
)
def test_invalid_json_is_malformed(data, message):
    with pytest.raises(Malformed, match=message):
        loads(data)


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'{"a":1,"\\u0061":1}', b'[{"x":{"k":0,"k":0}}]'])
def test_a_duplicate_key_is_malformed(data):
    with pytest.raises(Malformed, match="twice"):
        loads(data)


def test_the_same_key_in_two_objects_is_allowed():
    assert loads(b'[{"a":1},{"a":2}]') == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("number", [b"1.0", b"-0.5", b"1e3", b"1E400", b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_not_an_integer_is_malformed(number):
    with pytest.raises(Malformed, match="is not an integer; signed documents allow no other numbers"):
        loads(b'{"a":' + number + b"}")


def test_integers_are_limited_to_2_to_the_53_minus_1():
    assert loads(b"[9007199254740991,-9007199254740991]") == [MAX_INTEGER, -MAX_INTEGER]
    for beyond in (b"9007199254740992", b"-9007199254740992", b"9" * 5000):
        with pytest.raises(Malformed, match=r"malformed: the integer \S+ is (beyond|too long)"):
            loads(beyond)


def test_the_ninth_level_is_malformed():
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(Malformed, match="deeper"):
        loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_objects_and_lists_both_count_as_levels():
    with pytest.raises(Malformed, match="deeper"):
        loads(b'{"a":[' * 5 + b"1" + b"]}" * 5)


def test_brackets_in_strings_are_not_levels():
    text = '[{"\\' * 50
    assert loads(json.dumps(text).encode()) == text


def test_the_depth_is_checked_before_the_parser_recurses():
    with pytest.raises(Malformed, match="deeper"):
        loads(b"[" * 500_000)


def test_the_size_limit_counts_bytes_and_is_checked_first():
    assert loads(b'"ab"', limit=4) == "ab"
    with pytest.raises(Oversize, match="oversize: 5 bytes, at most 4 are allowed"):
        loads(b'"abc"', limit=4)
    with pytest.raises(Oversize, match="oversize: 100 bytes, at most 99 are allowed"):
        loads(b"[" * 100, limit=99)


@pytest.mark.parametrize("data", [b'"\\ud800"', b'"\\udc00"', b'{"\\ud83d":1}', b'"\\ude00\\ud83d"'])
def test_an_unpaired_surrogate_is_malformed(data):
    with pytest.raises(Malformed, match="surrogates not allowed"):
        loads(data)


def test_a_surrogate_pair_is_a_character():
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("data", [b'"' + b'\\"' * 1_000_000, b'"' * 2_000_001, b'"' + b"\\" * 2_000_001])
def test_an_unterminated_string_is_rejected_in_linear_time(data):
    # Were each quote in it tried as a beginning, a million of them would take hours.
    with pytest.raises(Malformed, match="line 1 column"):
        loads(data, limit=len(data))


@given(st.binary(max_size=200) | st.text('{}[]",:\\0u1a', max_size=60).map(str.encode))
@settings(deadline=None)
def test_arbitrary_bytes_give_a_value_or_a_contract_error(data):
    try:
        value = loads(data)
    except ContractError:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "Out of range float values are not JSON compliant"),
        (float("inf"), "Out of range float values are not JSON compliant"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_a_value_without_a_json_form_is_malformed(value, message):
    with pytest.raises(Malformed, match=message):
        strict_json.dumps({"a": value})
