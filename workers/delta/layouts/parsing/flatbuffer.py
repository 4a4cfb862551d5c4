"""The part of the FlatBuffers encoding that is needed to follow tables, vectors and strings, with bounds checks.

Source: flatbuffers.dev/internals. A table starts with a signed offset back to its vtable, which holds the positions of
the fields. All other references are unsigned forward offsets.
"""

from dataclasses import dataclass

from workers.delta.layouts.parsing.pages import PagedFile

# Fields after the 62nd are not read: a vtable can have 64 KiB, and a million tables can share it.
MAX_VTABLE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of elements.

    Attributes:
        start: offset of the first element in the file.
        count: number of elements, all of them inside the file.
    """

    start: int
    count: int


class Table:
    """A table with its vtable, which has been read and checked."""

    def __init__(self, pages: PagedFile, position: int, what: str) -> None:
        """Read the vtable of the table at `position`. `what` names the table in errors."""
        self._pages = pages
        self._what = what
        self.position = position
        distance = int.from_bytes(pages.take(position, 4, what), "little", signed=True)
        vtable = position - distance
        length = pages.unsigned(vtable, 2, what)
        if length < 4 or length % 2:
            raise pages.malformed("bad_table", f"{what} at {position} has a vtable of {length} bytes")
        entries = pages.take(vtable, min(length, MAX_VTABLE_BYTES), what)
        self._size = int.from_bytes(entries[2:4], "little")
        self._slots = entries[4:]

    def number(self, slot: int, length: int, *, default: int = 0, signed: bool = False) -> int:
        """Read the integer field in `slot`, which has `length` bytes."""
        at = self._field(slot, length)
        if at is None:
            return default
        return int.from_bytes(self._pages.take(at, length, self._what), "little", signed=signed)

    def table(self, slot: int, what: str) -> "Table | None":
        """Return the table that the field in `slot` refers to."""
        at = self._field(slot, 4)
        return None if at is None else Table(self._pages, self._follow(at), what)

    def vector(self, slot: int, item_bytes: int) -> Vector:
        """Return the vector that the field in `slot` refers to; an empty one if the field is missing.

        Raises:
            MalformedFile: `count_too_large`, if the vector does not fit into the file.
        """
        at = self._field(slot, 4)
        if at is None:
            return Vector(0, 0)
        start = self._follow(at)
        count = self._pages.unsigned(start, 4, self._what)
        max_count = (self._pages.size - start - 4) // item_bytes
        if count > max_count:
            raise self._pages.malformed(
                "count_too_large",
                f"a vector of {self._what} at {start} has {count} elements, at most {max_count} fit",
            )
        return Vector(start + 4, count)

    def text(self, slot: int, max_bytes: int) -> str | None:
        """Return the string that the field in `slot` refers to; None if it has more than `max_bytes` bytes."""
        vector = self.vector(slot, 1)
        if vector.count > max_bytes:
            return None
        return self._pages.take(vector.start, vector.count, self._what).decode(errors="replace")

    def element(self, vector: Vector, index: int, what: str) -> "Table":
        """Return the table that element `index` of a vector of tables refers to."""
        return Table(self._pages, self._follow(vector.start + 4 * index), what)

    def _field(self, slot: int, length: int) -> int | None:
        at = int.from_bytes(self._slots[2 * slot : 2 * slot + 2], "little")
        if at == 0:
            return None
        if at < 4 or length > self._size - at:
            raise self._pages.malformed(
                "bad_table",
                f"field {slot} of {self._what} at {self.position} is at byte {at} of {self._size}",
            )
        return self.position + at

    def _follow(self, at: int) -> int:
        distance = self._pages.unsigned(at, 4, self._what)
        if distance == 0:
            raise self._pages.malformed("bad_table", f"a reference of {self._what} at {at} points to itself")
        return at + distance


def root_table(pages: PagedFile, what: str) -> Table:
    """Return the root table, which the first four bytes of the file refer to."""
    return Table(pages, pages.unsigned(0, 4, what), what)
