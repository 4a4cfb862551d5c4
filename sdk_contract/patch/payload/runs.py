"""Decodes a run: a sequence of small unsigned numbers, most of them near zero (see `README.md`, "Runs")."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.sparse_indices import Indices, part_indices, true_indices

Symbols: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
Dtype: TypeAlias = "np.dtype[np.unsignedinteger[Any]]"

ZERO, PLAIN, PACKED, GAPS, SHIFTED, PALETTE = range(6)

MAX_DEPTH = 4
# Symbols per byte -> the largest code, which marks an escape.
ESCAPE = {1: 255, 2: 15, 4: 3, 8: 1}
# The packings with one and with two bits per code.
BITMAP_PACKING, _TWO_BIT_PACKING = 8, 4
# The lower bit of each two-bit code in a word.
_WORD_DTYPE, _LOW_BITS = np.dtype("<u8"), np.uint64(0x5555555555555555)
# Factors and masks that spread the four codes of a byte over four bytes.
_SPREAD_STEPS = (
    (np.uint32(1 | 1 << 12), np.uint32(0x000F000F)),
    (np.uint32(1 | 1 << 6), np.uint32(0x03030303)),
)
_QUAD_DTYPE = np.dtype("<u4")
# A run is sparse if fewer than one in this many numbers is not zero.
SPARSE_RATIO = 6
_RANGE = np.arange(1 << 18)


@dataclass(frozen=True, slots=True)
class Run:
    """Decoded numbers: all of them, or only those that are not zero.

    Attributes:
        count: length of the run.
        indices: ascending positions of `values`, or None if `values` has every number.
        values: the numbers.
        overflow: the few numbers that need a wider type than `values`, which has zeros at their positions.
    """

    count: int
    indices: Indices | None
    values: Symbols
    overflow: "Run | None" = None

    def dense(self) -> Symbols:
        """Return every number, including the zeros."""
        if self.overflow is not None:
            wide: Symbols = self.values.astype(self.overflow.values.dtype)
            wide[self.overflow.indices] = self.overflow.values
            return wide
        if self.indices is None:
            return self.values
        values: Symbols = np.zeros(self.count, self.values.dtype)
        values[self.indices] = self.values
        return values


def read_run(cursor: Cursor, count: int, dtype: Dtype, depth: int = 0) -> Run:
    """Decode the next run of a payload.

    Args:
        cursor: at the first byte of the run.
        count: number of symbols.
        dtype: little-endian unsigned type of the symbols.
        depth: number of runs that contain this one.

    Raises:
        PatchCorrupt: the run violates the format.
        PatchUnsupported: the mode is unknown.
    """
    if depth > MAX_DEPTH:
        raise PatchCorrupt("runs are nested too deep")
    if count == 0:
        return Run(0, None, np.zeros(0, dtype))
    mode = cursor.byte()
    if mode == ZERO:
        return Run(count, np.zeros(0, np.int64), np.zeros(0, dtype))
    if mode == PLAIN:
        return Run(count, None, np.frombuffer(cursor.blob(count * dtype.itemsize), dtype))
    decoders = {PACKED: _read_packed, GAPS: _read_gaps, SHIFTED: _read_shifted, PALETTE: _read_palette}
    if mode not in decoders:
        raise PatchUnsupported(f"run mode {mode}")
    return decoders[mode](cursor, count, dtype, depth)


def _read_packed(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    pack, shift = cursor.byte(), cursor.byte()
    if pack not in ESCAPE or shift >= 8 * dtype.itemsize:
        raise PatchCorrupt(f"packing {pack}, shift {shift}")
    packed = np.frombuffer(cursor.blob(-(-count // pack)), np.uint8)
    tokens = unpack(packed, pack, count)
    low = _read_low_bits(cursor, count, shift, dtype) if shift else None
    escaped = _escape_indices(packed, tokens, pack)
    rest = read_run(cursor, len(escaped), dtype, depth + 1)
    if pack == BITMAP_PACKING and low is None and SPARSE_RATIO * len(escaped) < count:
        return Run(count, escaped, rest.dense() + dtype.type(ESCAPE[pack]))
    values: Symbols = tokens.astype(dtype, copy=False)
    if len(rest.values):
        values = values if values.flags.writeable else values.copy()
        if rest.indices is not None:  # zeros add nothing to the tokens
            escaped = escaped.take(rest.indices)
        values[escaped] = rest.values + dtype.type(ESCAPE[pack])
    if low is not None:
        values = (values << dtype.type(shift)) | low
    return Run(count, None, values)


def _escape_indices(packed: npt.NDArray[np.uint8], tokens: npt.NDArray[np.uint8], pack: int) -> Indices:
    """Positions of the tokens that are escapes."""
    if pack == BITMAP_PACKING:
        return true_indices(tokens.view(np.bool_))
    if pack != _TWO_BIT_PACKING:
        return true_indices(tokens == ESCAPE[pack])
    # Two-bit codes are searched in words of 32 codes, because NumPy shifts these twice as fast as bytes.
    if len(packed) % _WORD_DTYPE.itemsize:
        packed = np.concatenate([packed, np.zeros(-len(packed) % _WORD_DTYPE.itemsize, np.uint8)])
    words = packed.view(_WORD_DTYPE)
    full = words >> np.uint64(1)
    full &= words  # an escape has both bits set
    full &= _LOW_BITS
    indices = _set_code_indices(full)
    return indices[: np.searchsorted(indices, len(tokens))]


def _set_code_indices(flags: npt.NDArray[np.uint64]) -> Indices:
    """Positions of the two-bit codes whose lower bit is set; searches words, then bytes, then codes."""
    words = true_indices(flags != 0)
    some = flags.take(words).view(np.uint8)
    inside = true_indices(some != 0)
    codes = unpack(some.take(inside), _TWO_BIT_PACKING, _TWO_BIT_PACKING * len(inside))
    return part_indices(part_indices(words, inside, 3), true_indices(codes.view(np.bool_)), 2)


def _read_shifted(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    shift = cursor.byte()
    if shift >= 8 * dtype.itemsize:
        raise PatchCorrupt(f"shift {shift}")
    run = read_run(cursor, count, dtype, depth + 1)
    return Run(count, run.indices, run.values << dtype.type(shift))


def _read_palette(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    colors = np.frombuffer(cursor.take(cursor.byte() * dtype.itemsize), dtype)
    ranks = read_run(cursor, count, np.dtype("<u1"), depth + 1).dense()
    if int(ranks.max()) > len(colors):
        raise PatchCorrupt("a rank exceeds its palette")
    values: Symbols = np.append(colors, dtype.type(0)).astype(dtype).take(ranks, mode="clip")
    others = true_indices(ranks == len(colors))
    values[others] = read_run(cursor, len(others), dtype, depth + 1).dense()
    return Run(count, None, values)


def unpack(packed: npt.NDArray[np.uint8], pack: int, count: int) -> npt.NDArray[np.uint8]:
    """Unpack `count` codes from bytes with `pack` codes each, the first code in the lowest bits."""
    if pack == 1:
        return packed
    if pack == BITMAP_PACKING:
        return np.unpackbits(packed, bitorder="little")[:count]
    if pack == 2:
        pairs = packed << np.uint16(4)
        pairs |= packed
        pairs &= np.uint16(0x0F0F)
        return pairs.view(np.uint8)[:count]
    # Each step spreads halves, then quarters of a byte; a product does this because its terms do not overlap.
    quads = packed.astype(_QUAD_DTYPE)
    for factor, mask in _SPREAD_STEPS:
        quads *= factor
        quads &= mask
    return quads.view(np.uint8)[:count]


def _read_low_bits(cursor: Cursor, count: int, shift: int, dtype: Dtype) -> Symbols:
    """Read the bits below the tokens, stored as bit planes, the lowest plane first."""
    plane = -(-count // 8)
    planes = np.frombuffer(cursor.blob(plane * shift), np.uint8).reshape(shift, plane)
    bits = np.unpackbits(planes, axis=1, count=count, bitorder="little")
    return np.asarray(np.einsum("ij,i->j", bits, 1 << np.arange(shift, dtype=dtype)))


def _read_gaps(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    nonzeros = cursor.varint()
    if nonzeros > count:
        raise PatchCorrupt("a run has more values than positions")
    gaps = read_run(cursor, nonzeros, np.dtype("<u4"), depth + 1).dense()
    rest = read_run(cursor, nonzeros, dtype, depth + 1).dense()
    indices = np.cumsum(gaps, dtype=np.int64)
    indices += _RANGE[:nonzeros] if nonzeros <= len(_RANGE) else np.arange(nonzeros)
    if nonzeros and int(indices[-1]) >= count:
        raise PatchCorrupt("a value is beyond the end of its run")
    return Run(count, indices, rest + dtype.type(1))
