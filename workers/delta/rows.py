"""Rows of a tensor that grew or shrank: which row of the new one is which row of the old one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.plan import Lane
from sdk_contract.patch.transforms import Element, has_key, width
from workers.delta.layouts.layout import RangeReader, Tensor

SIGNS = 64
MIN_SIGNS = 24
CHUNK = 4 << 20
# Of 64 signs of two unrelated rows 32 +- 4 differ; training flips only signs of values near zero.
MAX_DIFFERENT = 0.25
LOOK = 4
MAX_BREAKS = 256
# A sign word for each row is kept; more rows than any vocabulary has are not looked into.
MAX_ROWS = 1 << 21
Signs = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RowRun:
    """Consecutive rows of the new tensor from consecutive rows of the old one; `old` is None for new rows."""

    new: int
    old: int | None
    count: int


def match_rows(
    source: RangeReader, old: Tensor, target: RangeReader, new: Tensor, lane: Lane
) -> list[RowRun]:
    """Runs that fill the new tensor in order.

    A row is recognised by the signs of up to 64 of its values. Where two neighbours do not match any more, the
    nearest insertion or removal after which rows match again is looked for.

    Args:
        source: the old file.
        old: a tensor in it.
        target: the new file.
        new: a tensor in it of the same dtype and row size, with another number of rows.
        lane: how values lie in a row.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    row = new.size // new.shape[0]
    if row > CHUNK or max(old.shape[0], new.shape[0]) > MAX_ROWS:
        return by_position(old.shape[0], new.shape[0])
    before, count = _signs(source, old, lane)
    after, _ = _signs(target, new, lane)
    if count < MIN_SIGNS:
        return by_position(old.shape[0], new.shape[0])
    return align_signs(before, after, int(count * MAX_DIFFERENT))


def by_position(old: int, new: int) -> list[RowRun]:
    """The first rows from the first rows, the rest new."""
    shared = min(old, new)
    runs = [RowRun(0, 0, shared), RowRun(shared, None, new - shared)]
    return [run for run in runs if run.count]


def align_signs(before: Signs, after: Signs, most: int) -> list[RowRun]:
    """Runs between two sequences of sign words; at most `most` bits of a pair of equal rows differ."""
    runs: list[RowRun] = []
    i = j = 0
    for _ in range(MAX_BREAKS):
        same = _same_from(before, after, j, i, most)
        if same:
            runs.append(RowRun(i, j, same))
            i, j = i + same, j + same
        if i >= len(after):
            return _merged(runs)
        if j >= len(before):
            break
        inserted = _next_match(before[j : j + LOOK], after[i + 1 :], most)
        removed = _next_match(after[i : i + LOOK], before[j + 1 :], most)
        if inserted is None and removed is None:
            runs.append(RowRun(i, j, 1))  # a row of its own meaning now; its place still has a history
            i, j = i + 1, j + 1
        elif removed is None or (inserted is not None and inserted <= removed):
            runs.append(RowRun(i, None, (inserted or 0) + 1))
            i += (inserted or 0) + 1
        else:
            j += removed + 1
    shared = min(len(before) - j, len(after) - i)
    rest = [RowRun(i, j, shared), RowRun(i + shared, None, len(after) - i - shared)]
    return _merged([*runs, *(run for run in rest if run.count > 0)])


def _same_from(before: Signs, after: Signs, j: int, i: int, most: int) -> int:
    length = min(len(before) - j, len(after) - i)
    differs = np.flatnonzero(np.bitwise_count(before[j : j + length] ^ after[i : i + length]) > most)
    return int(differs[0]) if len(differs) else length


def _next_match(wanted: Signs, among: Signs, most: int) -> int | None:
    """How far into `among` the wanted rows stand, all of them."""
    places = len(among) - len(wanted) + 1
    if places <= 0:
        return None
    fits = np.ones(places, bool)
    for number, word in enumerate(wanted):
        fits &= np.bitwise_count(among[number : number + places] ^ word) <= most
    found = np.flatnonzero(fits)
    return int(found[0]) if len(found) else None


def _merged(runs: list[RowRun]) -> list[RowRun]:
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


def _signs(reader: RangeReader, tensor: Tensor, lane: Lane) -> tuple[Signs, int]:
    """One word of sign bits per row, and how many bits are used."""
    rows = tensor.shape[0]
    row = tensor.size // rows
    places = _sign_bytes(lane, row)
    words, step = [], max(1, CHUNK // row)
    for first in range(0, rows, step):
        many = min(step, rows - first)
        data = np.frombuffer(reader.read(tensor.offset + first * row, many * row), np.uint8)
        bits = (data.reshape(many, row)[:, places] >> 7).astype(np.uint64)
        words.append((bits << np.arange(len(places), dtype=np.uint64)).sum(axis=1, dtype=np.uint64))
    return np.concatenate(words), len(places)


def _sign_bytes(lane: Lane, row: int) -> npt.NDArray[np.int64]:
    """Evenly spread bytes of a row whose top bit is the sign of a value."""
    field = next((f for f in lane.fields if f.element in (Element.INT8, Element.INT4)), lane.fields[-1])
    if not has_key(field.element):
        field = field if field.length > 1 or lane.stride == 1 else lane.fields[-1]
    size = width(field.element)
    inside = np.arange(field.offset + size - 1, field.offset + field.length, size)
    count = row // lane.stride * len(inside)
    chosen = np.linspace(0, count - 1, min(count, SIGNS)).astype(np.int64)
    return np.asarray(chosen // len(inside) * lane.stride + inside[chosen % len(inside)])
