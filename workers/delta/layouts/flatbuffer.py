"""As much of FlatBuffers' binary form as is needed to follow tables, vectors and strings, with every bound checked.

Source: flatbuffers.dev/internals. A table starts with a signed distance back to its vtable, which says where each
field lies; everything else is reached by unsigned distances forward.
"""

from dataclasses import dataclass

from workers.delta.layouts.pages import Pages

# Fields behind the 62nd are not read: a vtable may have 64 KiB, and a million tables may share it.
MAX_VTABLE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Vector:
    """Elements in a row.

    Attributes:
        start: offset of the first element in the file.
        count: elements, all of them inside the file.
    """

    start: int
    count: int


class Table:
    """One table, its vtable read and checked."""

    def __init__(self, pages: Pages, position: int, what: str) -> None:
        """Read the vtable of the table at `position`; `what` names the table in errors."""
        self._pages = pages
        self._what = what
        self.position = position
        distance = int.from_bytes(pages.take(position, 4, what), "little", signed=True)
        vtable = position - distance
        length = pages.unsigned(vtable, 2, what)
        if length < 4 or length % 2:
            raise pages.refuse("bad_table", f"{what} at {position} has a vtable of {length} bytes")
        entries = pages.take(vtable, min(length, MAX_VTABLE_BYTES), what)
        self._size = int.from_bytes(entries[2:4], "little")
        self._slots = entries[4:]

    def number(self, slot: int, length: int, *, default: int = 0, signed: bool = False) -> int:
        """The integer field in `slot`, `length` bytes wide."""
        at = self._field(slot, length)
        if at is None:
            return default
        return int.from_bytes(self._pages.take(at, length, self._what), "little", signed=signed)

    def table(self, slot: int, what: str) -> "Table | None":
        """The table that the field in `slot` points to."""
        at = self._field(slot, 4)
        return None if at is None else Table(self._pages, self._follow(at), what)

    def vector(self, slot: int, item_bytes: int) -> Vector:
        """The vector that the field in `slot` points to; an empty one when there is none.

        Raises:
            MalformedFile: `count_too_large`, more elements than bytes are left.
        """
        at = self._field(slot, 4)
        if at is None:
            return Vector(0, 0)
        start = self._follow(at)
        count = self._pages.unsigned(start, 4, self._what)
        room = (self._pages.size - start - 4) // item_bytes
        if count > room:
            raise self._pages.refuse(
                "count_too_large", f"a vector of {self._what} at {start} has {count} elements, {room} fit"
            )
        return Vector(start + 4, count)

    def text(self, slot: int, most: int) -> str | None:
        """The string that the field in `slot` points to, nothing when it has more than `most` bytes."""
        vector = self.vector(slot, 1)
        if vector.count > most:
            return None
        return self._pages.take(vector.start, vector.count, self._what).decode(errors="replace")

    def element(self, vector: Vector, index: int, what: str) -> "Table":
        """The table that element `index` of a vector of tables points to."""
        return Table(self._pages, self._follow(vector.start + 4 * index), what)

    def _field(self, slot: int, length: int) -> int | None:
        at = int.from_bytes(self._slots[2 * slot : 2 * slot + 2], "little")
        if at == 0:
            return None
        if at < 4 or length > self._size - at:
            raise self._pages.refuse(
                "bad_table",
                f"field {slot} of {self._what} at {self.position} lies at {at} of {self._size} bytes",
            )
        return self.position + at

    def _follow(self, at: int) -> int:
        distance = self._pages.unsigned(at, 4, self._what)
        if distance == 0:
            raise self._pages.refuse("bad_table", f"a reference of {self._what} at {at} points to itself")
        return at + distance


def root(pages: Pages, what: str) -> Table:
    """The table that the file's first four bytes point to."""
    return Table(pages, pages.unsigned(0, 4, what), what)
