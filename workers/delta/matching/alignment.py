"""Align two files: cut the new one into pieces, each with the range of the old file that it is made from."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sdk_contract.patch.payload.block_plan import Lane
from workers.delta.dtype_lanes import BSDIFF, BYTES, LITERAL, lane_for_dtype
from workers.delta.layouts.layout import Layout, RangeReader, Tensor
from workers.delta.matching.rows import RowRun, match_by_position, match_rows
from workers.delta.matching.tensors import match_tensors

MAX_BSDIFF_WINDOW = 4 << 20
# bsdiff sorts its window, which takes seconds for 4 MiB. Longer ranges than this are compared byte by byte.
MAX_BSDIFF_BYTES = 32 << 20
BSDIFF_TARGET_BYTES = 1 << 20
COMPARE_CHUNK_BYTES = 64 << 10
MIN_COMMON_BYTES = 256
SAMPLE_COUNT, SAMPLE_BYTES = 16, 4 << 10
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive target bytes that are made from consecutive source bytes.

    Attributes:
        lane: how they are made; literal where the source has nothing similar.
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
        """Pickle the fields as a tuple, in a third of the time of the dataclass default."""
        ranges = self.target_offset, self.size, self.source_offset, self.source_size
        return Piece, (self.lane, *ranges, self.tensor)


@dataclass(slots=True)
class Alignment:
    """The alignment of two files.

    Attributes:
        source, target: the old and the new file.
        old, new: their layouts.
        row_matches: by name of the new tensor, for tensors that gained or lost rows: the old tensor, the new one, and
            the runs of matching rows.
    """

    source: RangeReader
    old: Layout
    target: RangeReader
    new: Layout
    row_matches: dict[str, tuple[Tensor, Tensor, list[RowRun]]] = field(default_factory=dict)

    def pieces(self) -> Iterator[Piece]:
        """Yield pieces that cover the target in order. A piece can be as long as a tensor.

        Raises:
            EOFError, OSError: a file cannot be read.
        """
        matched = match_tensors(self.source, self.old, self.target, self.new)
        self._match_rows(matched)
        position = source_position = 0
        for tensor in self.new.tensors:
            match = matched.get(tensor.name)
            source_end = max(match.offset, source_position) if match else source_position
            yield from self._gap_pieces(position, tensor.offset, source_position, source_end)
            if tensor.size:
                yield from self._tensor_pieces(tensor, match)
            position = tensor.offset + tensor.size
            source_position = match.offset + match.size if match else source_position
        yield from self._gap_pieces(position, self.new.size, source_position, self.old.size)

    def _gap_pieces(self, begin: int, end: int, source_begin: int, source_end: int) -> Iterator[Piece]:
        """Compare the bytes between two tensors with the bytes between the same two tensors of the source."""
        size, source_size = end - begin, source_end - source_begin
        if not size or not source_size:
            yield from [Piece(LITERAL, begin, size)] * bool(size)
            return
        front = self._common_length(begin, source_begin, min(size, source_size), 1)
        back = self._common_length(end, source_end, min(size, source_size) - front, -1)
        if front:
            yield Piece(BYTES, begin, front, source_begin, front)
        if size > front + back:
            middle = source_begin + front, source_end - back
            yield from self._changed_pieces(begin + front, end - back, middle, (source_begin, source_end))
        if back:
            yield Piece(BYTES, end - back, back, source_end - back, back)

    def _common_length(self, offset: int, source_offset: int, limit: int, direction: int) -> int:
        """Count the equal bytes after two offsets (direction 1) or before them (-1); 0 if too few for a piece.

        This spares bsdiff, which takes seconds per MiB, the large part of headers and vocabularies that is unchanged.
        """
        equal = 0
        while equal < limit and limit >= MIN_COMMON_BYTES:
            length = min(COMPARE_CHUNK_BYTES, limit - equal)
            shift = equal if direction > 0 else -equal - length
            old, new = (
                self.source.read(source_offset + shift, length),
                self.target.read(offset + shift, length),
            )
            if old != new:
                differing = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
                equal += int(differing[0]) if direction > 0 else length - 1 - int(differing[-1])
                break
            equal += length
        return equal if equal >= MIN_COMMON_BYTES else 0

    def _changed_pieces(self, begin: int, end: int, middle: Range, whole: Range) -> Iterator[Piece]:
        """Use bsdiff for changed bytes outside tensors; compare longer ranges byte by byte, aligned at one end."""
        size, source_size = end - begin, middle[1] - middle[0]
        if size <= MAX_BSDIFF_BYTES:
            yield from _bsdiff_windows(begin, size, middle, whole)
            return
        shared = min(size, source_size)
        at_end = size != source_size and self._count_equal_in_sample(
            end, middle[1], shared, -1
        ) > self._count_equal_in_sample(begin, middle[0], shared, 1)
        first = size - shared if at_end else 0
        if at_end and first:
            yield Piece(LITERAL, begin, first)
        if shared:
            yield Piece(BYTES, begin + first, shared, middle[1] - shared if at_end else middle[0], shared)
        if not at_end and size > shared:
            yield Piece(LITERAL, begin + shared, size - shared)

    def _count_equal_in_sample(self, offset: int, source_offset: int, size: int, direction: int) -> int:
        """Count equal bytes in evenly spaced samples of two ranges that begin (direction 1) or end (-1) at two offsets."""
        equal, length = 0, min(SAMPLE_BYTES, size)
        for number in range(SAMPLE_COUNT):
            distance = (size - length) * number // SAMPLE_COUNT
            shift = distance if direction > 0 else -distance - length
            old, new = (
                self.source.read(source_offset + shift, length),
                self.target.read(offset + shift, length),
            )
            equal += int(np.count_nonzero(np.frombuffer(old, np.uint8) == np.frombuffer(new, np.uint8)))
        return equal

    def _match_rows(self, matched: dict[str, Tensor]) -> None:
        """Match the rows of tensors that gained or lost rows; their vectors of scales use the result later."""
        for tensor in self.new.tensors:
            old = matched.get(tensor.name)
            if old is not None and _differ_in_row_count_only(old, tensor) and len(tensor.shape) > 1:
                lane = lane_for_dtype(tensor.dtype)
                runs = match_rows(self.source, old, self.target, tensor, lane)
                self.row_matches[tensor.name] = old, tensor, runs

    def _tensor_pieces(self, new: Tensor, old: Tensor | None) -> Iterator[Piece]:
        if old is None or old.dtype != new.dtype or not old.size:
            yield Piece(LITERAL, new.offset, new.size, tensor=new.name)
        elif old.size == new.size:
            yield Piece(lane_for_dtype(new.dtype), new.offset, new.size, old.offset, old.size, new.name)
        elif _differ_in_row_count_only(old, new):
            yield from self._row_pieces(new, old)
        else:
            yield Piece(LITERAL, new.offset, new.size, tensor=new.name)

    def _row_pieces(self, new: Tensor, old: Tensor) -> Iterator[Piece]:
        row, lane = new.size // new.shape[0], lane_for_dtype(new.dtype)
        for run in self._row_runs(new, old):
            offset, size = new.offset + run.new * row, run.count * row
            if run.old is None:
                yield Piece(LITERAL, offset, size, tensor=new.name)
            else:
                yield Piece(lane, offset, size, old.offset + run.old * row, size, new.name)

    def _row_runs(self, new: Tensor, old: Tensor) -> list[RowRun]:
        if new.name in self.row_matches:
            return self.row_matches[new.name][2]
        # A vector with one value per row (scales, biases) gained or lost the same rows as its matrix.
        candidates = [
            (_common_prefix_length(name, new.name), runs)
            for name, (old_matrix, new_matrix, runs) in self.row_matches.items()
            if old_matrix.shape[0] == old.shape[0] and new_matrix.shape[0] == new.shape[0]
        ]
        if not candidates:
            return match_by_position(old.shape[0], new.shape[0])
        return max(candidates, key=lambda candidate: candidate[0])[1]


def _common_prefix_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _differ_in_row_count_only(old: Tensor, new: Tensor) -> bool:
    """Whether two tensors have the same dtype and row shape, but another number of rows."""
    if old.dtype != new.dtype or not old.shape or not new.shape or old.shape[1:] != new.shape[1:]:
        return False
    rows = old.shape[0], new.shape[0]
    lane = lane_for_dtype(new.dtype)
    whole = 0 not in rows and old.size % rows[0] == 0 and new.size % rows[1] == 0
    return whole and rows[0] != rows[1] and (new.size // rows[1]) % lane.stride == 0


def _bsdiff_windows(begin: int, size: int, middle: Range, whole: Range) -> Iterator[Piece]:
    """Yield windows of the target, each with the part of the source around the same relative position."""
    span = min(MAX_BSDIFF_WINDOW, whole[1] - whole[0])
    for position in range(0, size, BSDIFF_TARGET_BYTES):
        length = min(BSDIFF_TARGET_BYTES, size - position)
        center = middle[0] + (position + length // 2) * (middle[1] - middle[0]) // size
        first = min(max(center - span // 2, whole[0]), whole[1] - span)
        yield Piece(BSDIFF, begin + position, length, first, span)
