"""Which bytes of the new file come from which bytes of the old one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sdk_contract.patch.plan import Lane
from workers.delta.lanes import BSDIFF, BYTES, LITERAL, delta_lane
from workers.delta.layouts.layout import Layout, RangeReader, Tensor
from workers.delta.match import match_tensors
from workers.delta.rows import RowRun, by_position, match_rows

# bsdiff sorts its window: 4 MiB take some seconds, so more than this in all is compared byte by byte.
WINDOW = 4 << 20
MAX_SORTED = 32 << 20
TARGET_WINDOW = 1 << 20
COMPARED = 64 << 10
MIN_COMMON = 256
LOOKS, LOOKED_AT = 16, 4 << 10
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive target bytes made from consecutive source bytes.

    Attributes:
        lane: how; literal where nothing in the source is like it.
        target_offset, size: the target range.
        source_offset, source_size: the source range; size 0 for literal.
        tensor: name of the target tensor, or "" between tensors.
    """

    lane: Lane
    target_offset: int
    size: int
    source_offset: int = 0
    source_size: int = 0
    tensor: str = ""

    def __reduce__(self) -> tuple[type["Piece"], tuple[Lane, int, int, int, int, str]]:
        """How it goes to another process: as its fields, in a third of the time of a dataclass's own way."""
        place = self.target_offset, self.size, self.source_offset, self.source_size
        return Piece, (self.lane, *place, self.tensor)


@dataclass(slots=True)
class Alignment:
    """Two files, and what was found out about them."""

    source: RangeReader
    old: Layout
    target: RangeReader
    new: Layout
    grown: dict[str, tuple[Tensor, Tensor, list[RowRun]]] = field(default_factory=dict)

    def pieces(self) -> Iterator[Piece]:
        """Pieces that fill the target in order; they may be as long as a tensor.

        Raises:
            EOFError, OSError: a file cannot be read.
        """
        matched = match_tensors(self.source, self.old, self.target, self.new)
        self._match_rows(matched)
        at = source_at = 0
        for tensor in self.new.tensors:
            match = matched.get(tensor.name)
            source_end = match.offset if match else source_at
            yield from self._between(at, tensor.offset, source_at, max(source_end, source_at))
            if tensor.size:
                yield from self._tensor(tensor, match)
            at = tensor.offset + tensor.size
            source_at = match.offset + match.size if match else source_at
        yield from self._between(at, self.new.size, source_at, self.old.size)

    def _between(self, begin: int, end: int, source_begin: int, source_end: int) -> Iterator[Piece]:
        """What lies between two tensors, against what lies between the same two in the source."""
        size, source_size = end - begin, source_end - source_begin
        if not size or not source_size:
            yield from [Piece(LITERAL, begin, size)] * bool(size)
            return
        front = self._common(begin, source_begin, min(size, source_size), 1)
        back = self._common(end, source_end, min(size, source_size) - front, -1)
        if front:
            yield Piece(BYTES, begin, front, source_begin, front)
        if size > front + back:
            middle = source_begin + front, source_end - back
            yield from self._changed(begin + front, end - back, middle, (source_begin, source_end))
        if back:
            yield Piece(BYTES, end - back, back, source_end - back, back)

    def _common(self, at: int, source_at: int, most: int, step: int) -> int:
        """How many bytes are equal from two places on, or before them; none when it is not worth a piece.

        bsdiff takes seconds for a mebibyte, and most of a header or a vocabulary stays as it is.
        """
        same = 0
        while same < most and most >= MIN_COMMON:
            length = min(COMPARED, most - same)
            ahead = same if step > 0 else -same - length
            old, new = self.source.read(source_at + ahead, length), self.target.read(at + ahead, length)
            if old != new:
                differ = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
                same += int(differ[0]) if step > 0 else length - 1 - int(differ[-1])
                break
            same += length
        return same if same >= MIN_COMMON else 0

    def _changed(self, begin: int, end: int, middle: Range, whole: Range) -> Iterator[Piece]:
        """Bytes of no known meaning: searched by bsdiff, or, too many for that, compared in place."""
        size, source_size = end - begin, middle[1] - middle[0]
        if size <= MAX_SORTED:
            yield from _windows(begin, size, middle, whole)
            return
        shared = min(size, source_size)
        at_end = size != source_size and self._equal(end, middle[1], shared, -1) > self._equal(
            begin, middle[0], shared, 1
        )
        first = size - shared if at_end else 0
        if at_end and first:
            yield Piece(LITERAL, begin, first)
        if shared:
            yield Piece(BYTES, begin + first, shared, middle[1] - shared if at_end else middle[0], shared)
        if not at_end and size > shared:
            yield Piece(LITERAL, begin + shared, size - shared)

    def _equal(self, at: int, source_at: int, size: int, step: int) -> int:
        """Equal bytes in an even sample of two ranges that begin, or end, at two places."""
        equal, length = 0, min(LOOKED_AT, size)
        for look in range(LOOKS):
            ahead = (size - length) * look // LOOKS
            ahead = ahead if step > 0 else -ahead - length
            old, new = self.source.read(source_at + ahead, length), self.target.read(at + ahead, length)
            equal += int(np.count_nonzero(np.frombuffer(old, np.uint8) == np.frombuffer(new, np.uint8)))
        return equal

    def _match_rows(self, matched: dict[str, Tensor]) -> None:
        """Rows of tensors that grew or shrank; large rows first, since their scales follow them."""
        for tensor in self.new.tensors:
            old = matched.get(tensor.name)
            if old is not None and _same_rows(old, tensor) and len(tensor.shape) > 1:
                lane = delta_lane(tensor.dtype)
                runs = match_rows(self.source, old, self.target, tensor, lane)
                self.grown[tensor.name] = old, tensor, runs

    def _tensor(self, new: Tensor, old: Tensor | None) -> Iterator[Piece]:
        if old is None or old.dtype != new.dtype or not old.size:
            yield Piece(LITERAL, new.offset, new.size, tensor=new.name)
        elif old.size == new.size:
            yield Piece(delta_lane(new.dtype), new.offset, new.size, old.offset, old.size, new.name)
        elif _same_rows(old, new):
            yield from self._rows(new, old)
        else:
            yield Piece(LITERAL, new.offset, new.size, tensor=new.name)

    def _rows(self, new: Tensor, old: Tensor) -> Iterator[Piece]:
        row, lane = new.size // new.shape[0], delta_lane(new.dtype)
        for run in self._runs(new, old):
            offset, size = new.offset + run.new * row, run.count * row
            if run.old is None:
                yield Piece(LITERAL, offset, size, tensor=new.name)
            else:
                yield Piece(lane, offset, size, old.offset + run.old * row, size, new.name)

    def _runs(self, new: Tensor, old: Tensor) -> list[RowRun]:
        if new.name in self.grown:
            return self.grown[new.name][2]
        # A vector with one value per row (scales, biases) has lost or won the same rows as its matrix.
        alike = [
            (_shared_prefix(name, new.name), runs)
            for name, (was, now, runs) in self.grown.items()
            if was.shape[0] == old.shape[0] and now.shape[0] == new.shape[0]
        ]
        return max(alike, key=lambda entry: entry[0])[1] if alike else by_position(old.shape[0], new.shape[0])


def _shared_prefix(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _same_rows(old: Tensor, new: Tensor) -> bool:
    """Whether the two differ in their number of rows alone."""
    if old.dtype != new.dtype or not old.shape or not new.shape or old.shape[1:] != new.shape[1:]:
        return False
    rows = old.shape[0], new.shape[0]
    lane = delta_lane(new.dtype)
    whole = 0 not in rows and old.size % rows[0] == 0 and new.size % rows[1] == 0
    return whole and rows[0] != rows[1] and (new.size // rows[1]) % lane.stride == 0


def _windows(begin: int, size: int, middle: Range, whole: Range) -> Iterator[Piece]:
    """Windows of the target, each against the part of the source around the same place."""
    span = min(WINDOW, whole[1] - whole[0])
    for at in range(0, size, TARGET_WINDOW):
        length = min(TARGET_WINDOW, size - at)
        centre = middle[0] + (at + length // 2) * (middle[1] - middle[0]) // size
        first = min(max(centre - span // 2, whole[0]), whole[1] - span)
        yield Piece(BSDIFF, begin + at, length, first, span)
