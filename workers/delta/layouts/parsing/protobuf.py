"""The part of the protocol-buffers encoding that is needed to find a field: tags and lengths.

Source: protobuf.dev/programming-guides/encoding. Values are not copied, so a field of a gigabyte costs only its tag and
its length.
"""

from collections.abc import Iterator
from typing import NamedTuple

from workers.delta.layouts.layout import MalformedFile
from workers.delta.layouts.parsing.cursor import Cursor

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field.

    Attributes:
        number: as in the schema.
        wire: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        value: the integer of a `VARINT`, the length of all others.
        end: offset after the field.
    """

    number: int
    wire: int
    value: int
    end: int


def fields(cursor: Cursor, end: int, what: str) -> Iterator[Field]:
    """Yield the fields of the message between the cursor and `end`.

    When a `BYTES` field is yielded, the cursor is at its first byte. The caller can read it or parse a message inside;
    the rest of the field is skipped.

    Raises:
        MalformedFile: a field ends after its message, has number 0, or has an unknown wire type.
    """
    while cursor.position < end:
        tag = cursor.varint(what)
        number, wire = tag >> 3, tag & 7
        value = cursor.varint(what) if wire in {VARINT, BYTES} else _FIXED.get(wire, -1)
        if number == 0 or value < 0:
            raise cursor.malformed(
                "bad_field", f"{what} has field {number} of wire type {wire} at {cursor.position}"
            )
        length = 0 if wire == VARINT else value
        if length > end - cursor.position:
            raise _too_long(cursor, what, number, length, end)
        field = Field(number, wire, value, cursor.position + length)
        yield field
        cursor.skip(field.end - cursor.position, what)
    if cursor.position > end:
        raise _too_long(cursor, what, 0, cursor.position - end, end)


def _too_long(cursor: Cursor, what: str, number: int, length: int, end: int) -> MalformedFile:
    return cursor.malformed(
        "truncated",
        f"field {number} of {what} at byte {cursor.position} has {length} bytes, but {what} ends at {end}",
    )
