import pytest

from tests.workers.delta.layouts.writers import Bytes, field, varint
from workers.delta.layouts import MalformedFile
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.parsing.protobuf import BYTES, FIXED32, FIXED64, VARINT, fields


def cursor(raw):
    return Cursor(Bytes(raw), "onnx", budget=1 << 20)


def test_fields_are_yielded_in_order_and_unread_values_are_skipped():
    raw = (
        field(1, 300)
        + field(2, b"abc")
        + varint(3 << 3 | 1)
        + bytes(8)
        + varint(4 << 3 | 5)
        + bytes(4)
        + field(200, b"")
    )
    seen = [(item.number, item.wire, item.value) for item in fields(cursor(raw), len(raw), "x")]
    assert seen == [(1, VARINT, 300), (2, BYTES, 3), (3, FIXED64, 8), (4, FIXED32, 4), (200, BYTES, 0)]


def test_a_nested_message_can_be_parsed_or_read():
    raw = field(1, field(2, 7)) + field(3, b"text")
    at = cursor(raw)
    seen = []
    for item in fields(at, len(raw), "outer"):
        if item.number == 1:
            seen += [inner.value for inner in fields(at, item.end, "inner")]
        else:
            seen.append(at.take(item.value, "x"))
    assert seen == [7, b"text"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x00\x00", "bad_field"),
        (b"\x0b", "bad_field"),
        (b"\x0f", "bad_field"),
        (b"\x0a\x05abc", "truncated"),
        (b"\x09\x00", "truncated"),
        (b"\x08", "truncated"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "truncated"),
    ],
)
def test_a_malformed_field_is_refused_with_a_code(raw, code):
    with pytest.raises(MalformedFile) as caught:
        list(fields(cursor(raw), len(raw), "x"))
    assert caught.value.code == code


def test_a_field_that_ends_after_its_message_is_refused():
    raw = field(1, 1 << 20) + bytes(20)
    with pytest.raises(MalformedFile, match="truncated"):
        list(fields(cursor(raw), 2, "x"))
