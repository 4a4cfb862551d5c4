"""As much of protocol buffers' wire form as is needed to find a field: tags, lengths and what to skip.

Source: protobuf.dev/programming-guides/encoding. Nothing is looked up by name and nothing is copied: a field of a
gigabyte costs its tag and its length.
"""

from collections.abc import Iterator
from typing import NamedTuple

from workers.delta.layouts.cursor import Cursor
from workers.delta.layouts.layout import MalformedFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field.

    Attributes:
        number: as in the schema.
        wire: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        value: the integer of a `VARINT`, the length of all others.
        end: first byte behind the field.
    """

    number: int
    wire: int
    value: int
    end: int


def fields(cursor: Cursor, end: int, what: str) -> Iterator[Field]:
    """The fields of the message between the cursor and `end`.

    While a `BYTES` field is the current one the cursor stands at its first byte; the user may take from it or walk
    into it, and whatever is left of it is skipped.

    Raises:
        MalformedFile: a field that reaches behind its message, field number 0, or a wire type that does not exist.
    """
    while cursor.position < end:
        tag = cursor.varint(what)
        number, wire = tag >> 3, tag & 7
        value = cursor.varint(what) if wire in {VARINT, BYTES} else _FIXED.get(wire, -1)
        if number == 0 or value < 0:
            raise cursor.refuse(
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
    return cursor.refuse(
        "truncated",
        f"field {number} of {what} at byte {cursor.position} has {length} bytes, but {what} ends at {end}",
    )
