"""Match the rows of a tensor that gained or lost rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.payload.block_plan import Lane
from sdk_contract.patch.payload.elements import Element, has_exponent, width
from workers.delta.layouts.layout import RangeReader, Tensor

MAX_SIGNS = 64
MIN_SIGNS = 24
CHUNK_BYTES = 4 << 20
# Of 64 signs of two unrelated rows, 32 +- 4 differ. Training flips only the signs of values near zero.
MAX_DIFFERENT_SHARE = 0.25
LOOKAHEAD_ROWS = 4
MAX_BREAKS = 256
# One sign word per row is kept in memory. No vocabulary has more rows than this.
MAX_ROWS = 1 << 21
SignWords = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RowRun:
    """Consecutive rows of the new tensor that match consecutive rows of the old one.

    Attributes:
        new, old: first row in each tensor; `old` is None for rows without a match.
        count: number of rows.
    """

    new: int
    old: int | None
    count: int


def match_rows(
    source: RangeReader, old: Tensor, target: RangeReader, new: Tensor, lane: Lane
) -> list[RowRun]:
    """Return runs that cover the new tensor in order.

    Rows match if the signs of up to 64 of their values mostly agree. At the first rows that do not match, the nearest
    insertion or removal after which rows match again is used.

    Args:
        source: the old file.
        old: a tensor in it.
        target: the new file.
        new: a tensor in it of the same dtype and row size, with another number of rows.
        lane: position of the values in a row.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    row_bytes = new.size // new.shape[0]
    if row_bytes > CHUNK_BYTES or max(old.shape[0], new.shape[0]) > MAX_ROWS:
        return match_by_position(old.shape[0], new.shape[0])
    old_words, sign_count = _sign_words(source, old, lane)
    new_words, _ = _sign_words(target, new, lane)
    if sign_count < MIN_SIGNS:
        return match_by_position(old.shape[0], new.shape[0])
    return align_sign_words(old_words, new_words, int(sign_count * MAX_DIFFERENT_SHARE))


def match_by_position(old: int, new: int) -> list[RowRun]:
    """Match the first rows to the first rows; the rest has no match."""
    shared = min(old, new)
    runs = [RowRun(0, 0, shared), RowRun(shared, None, new - shared)]
    return [run for run in runs if run.count]


def align_sign_words(old: SignWords, new: SignWords, max_differing: int) -> list[RowRun]:
    """Return the runs between two sequences of sign words; matching words differ in at most `max_differing` bits."""
    runs: list[RowRun] = []
    i = j = 0  # next row of `new`, next row of `old`
    for _ in range(MAX_BREAKS):
        length = _matching_length(old[j:], new[i:], max_differing)
        if length:
            runs.append(RowRun(i, j, length))
            i, j = i + length, j + length
        if i >= len(new):
            return _merge_adjacent(runs)
        if j >= len(old):
            break
        inserted = _next_match(old[j : j + LOOKAHEAD_ROWS], new[i + 1 :], max_differing)
        removed = _next_match(new[i : i + LOOKAHEAD_ROWS], old[j + 1 :], max_differing)
        if inserted is None and removed is None:
            runs.append(RowRun(i, j, 1))  # the row was replaced; the old row is still the best source
            i, j = i + 1, j + 1
        elif removed is None or (inserted is not None and inserted <= removed):
            runs.append(RowRun(i, None, (inserted or 0) + 1))
            i += (inserted or 0) + 1
        else:
            j += removed + 1
    shared = min(len(old) - j, len(new) - i)
    rest = [RowRun(i, j, shared), RowRun(i + shared, None, len(new) - i - shared)]
    return _merge_adjacent([*runs, *(run for run in rest if run.count > 0)])


def _matching_length(old: SignWords, new: SignWords, max_differing: int) -> int:
    length = min(len(old), len(new))
    differing = np.flatnonzero(np.bitwise_count(old[:length] ^ new[:length]) > max_differing)
    return int(differing[0]) if len(differing) else length


def _next_match(wanted: SignWords, words: SignWords, max_differing: int) -> int | None:
    """Return the first position in `words` where all wanted words match."""
    positions = len(words) - len(wanted) + 1
    if positions <= 0:
        return None
    matches = np.ones(positions, bool)
    for number, word in enumerate(wanted):
        matches &= np.bitwise_count(words[number : number + positions] ^ word) <= max_differing
    found = np.flatnonzero(matches)
    return int(found[0]) if len(found) else None


def _merge_adjacent(runs: list[RowRun]) -> list[RowRun]:
    merged: list[RowRun] = []
    for run in runs:
        last = merged[-1] if merged else None
        if last and last.old is None and run.old is None:
            merged[-1] = RowRun(last.new, None, last.count + run.count)
        elif last and last.old is not None and run.old == last.old + last.count:
            merged[-1] = RowRun(last.new, last.old, last.count + run.count)
        else:
            merged.append(run)
    return merged


def _sign_words(reader: RangeReader, tensor: Tensor, lane: Lane) -> tuple[SignWords, int]:
    """Return one word of sign bits per row, and the number of bits used."""
    rows = tensor.shape[0]
    row_bytes = tensor.size // rows
    positions = _sign_byte_positions(lane, row_bytes)
    words, step = [], max(1, CHUNK_BYTES // row_bytes)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        data = np.frombuffer(reader.read(tensor.offset + first * row_bytes, count * row_bytes), np.uint8)
        bits = (data.reshape(count, row_bytes)[:, positions] >> 7).astype(np.uint64)
        words.append((bits << np.arange(len(positions), dtype=np.uint64)).sum(axis=1, dtype=np.uint64))
    return np.concatenate(words), len(positions)


def _sign_byte_positions(lane: Lane, row_bytes: int) -> npt.NDArray[np.int64]:
    """Return evenly spaced positions in a row of bytes whose top bit is the sign of a value."""
    field = next((f for f in lane.fields if f.element in (Element.INT8, Element.INT4)), lane.fields[-1])
    if not has_exponent(field.element):
        field = field if field.length > 1 or lane.stride == 1 else lane.fields[-1]
    size = width(field.element)
    in_unit = np.arange(field.offset + size - 1, field.offset + field.length, size)
    count = row_bytes // lane.stride * len(in_unit)
    chosen = np.linspace(0, count - 1, min(count, MAX_SIGNS)).astype(np.int64)
    return np.asarray(chosen // len(in_unit) * lane.stride + in_unit[chosen % len(in_unit)])
