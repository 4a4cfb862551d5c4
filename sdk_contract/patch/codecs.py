"""Decoding a run: `n` small unsigned numbers, most of them near zero (see `README.md`, "Runs")."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported
from sdk_contract.patch.places import Places, places_of, within

Symbols: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
Dtype: TypeAlias = "np.dtype[np.unsignedinteger[Any]]"

ZERO, PLAIN, PACKED, GAPS, SHIFTED, PALETTE = range(6)
MAX_PALETTE = 255
MAX_DEPTH = 4
# Symbols per byte -> the code that announces an escape: 255, 15, 3 or 1.
ESCAPE = {1: 255, 2: 15, 4: 3, 8: 1}
# Symbols per byte whose escapes are looked for in the bytes, and the lower bit of each of their codes.
BITS, _LOOKED_THROUGH = 8, 4
_WORD, _LOWEST = np.dtype("<u8"), np.uint64(0x5555555555555555)
# How the codes of a byte move apart until each has a byte of its own.
_APART = (np.uint32(1 | 1 << 12), np.uint32(0x000F000F)), (np.uint32(1 | 1 << 6), np.uint32(0x03030303))
_QUADS = np.dtype("<u4")
# Above one number in so many that is not zero, a run has every number.
OFTEN = 6
_COUNTING = np.arange(1 << 18)


@dataclass(frozen=True, slots=True)
class Run:
    """Decoded numbers: all of them, or only those that are not zero.

    Attributes:
        count: how many numbers the run has.
        places: ascending positions of `values`, or None when `values` holds every number.
        values: the numbers.
        rest: few numbers that need a wider type than `values`, which has zeros in their places.
    """

    count: int
    places: Places | None
    values: Symbols
    rest: "Run | None" = None

    def dense(self) -> Symbols:
        """Every number."""
        if self.rest is not None:
            wide: Symbols = self.values.astype(self.rest.values.dtype)
            wide[self.rest.places] = self.rest.values
            return wide
        if self.places is None:
            return self.values
        values: Symbols = np.zeros(self.count, self.values.dtype)
        values[self.places] = self.values
        return values


def read_run(cursor: Cursor, count: int, dtype: Dtype, depth: int = 0) -> Run:
    """The next run of a payload.

    Args:
        cursor: where the run starts.
        count: how many symbols it has.
        dtype: little-endian unsigned type wide enough for every symbol.
        depth: how many runs this one is nested in.

    Raises:
        PatchCorrupt: the run breaks its format.
        PatchUnsupported: an unknown mode.
    """
    if depth > MAX_DEPTH:
        raise PatchCorrupt("runs nested too deep")
    if count == 0:
        return Run(0, None, np.zeros(0, dtype))
    mode = cursor.byte()
    if mode == ZERO:
        return Run(count, np.zeros(0, np.int64), np.zeros(0, dtype))
    if mode == PLAIN:
        return Run(count, None, np.frombuffer(cursor.blob(count * dtype.itemsize), dtype))
    decoders = {PACKED: _packed, GAPS: _gaps, SHIFTED: _shifted, PALETTE: _palette}
    if mode not in decoders:
        raise PatchUnsupported(f"run mode {mode}")
    return decoders[mode](cursor, count, dtype, depth)


def _packed(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    pack, shift = cursor.byte(), cursor.byte()
    if pack not in ESCAPE or shift >= 8 * dtype.itemsize:
        raise PatchCorrupt(f"packing {pack}, shift {shift}")
    packed = np.frombuffer(cursor.blob(-(-count // pack)), np.uint8)
    tokens = unpack(packed, pack, count)
    low = _low_bits(cursor, count, shift, dtype) if shift else None
    escaped = _escaped(packed, tokens, pack)
    rest = read_run(cursor, len(escaped), dtype, depth + 1)
    if pack == BITS and low is None and OFTEN * len(escaped) < count:
        return Run(count, escaped, rest.dense() + dtype.type(ESCAPE[pack]))
    values: Symbols = tokens.astype(dtype, copy=False)
    if len(rest.values):
        values = values if values.flags.writeable else values.copy()
        if rest.places is not None:  # the tokens have all that is not zero beside them
            escaped = escaped.take(rest.places)
        values[escaped] = rest.values + dtype.type(ESCAPE[pack])
    if low is not None:
        values = (values << dtype.type(shift)) | low
    return Run(count, None, values)


def _escaped(packed: npt.NDArray[np.uint8], tokens: npt.NDArray[np.uint8], pack: int) -> Places:
    """Where the tokens say that more follows."""
    if pack == BITS:
        return places_of(tokens.view(np.bool_))
    if pack != _LOOKED_THROUGH:
        return places_of(tokens == ESCAPE[pack])
    # Codes of two bits: the bytes that hold four are looked through first, as words, which NumPy shifts twice as fast.
    if len(packed) % _WORD.itemsize:
        packed = np.concatenate([packed, np.zeros(-len(packed) % _WORD.itemsize, np.uint8)])
    words = packed.view(_WORD)
    full = words >> np.uint64(1)
    full &= words  # a code is the escape where both its bits are ones
    full &= _LOWEST
    places = _flagged(full)
    return places[: np.searchsorted(places, len(tokens))]


def _flagged(flags: npt.NDArray[np.uint64]) -> Places:
    """The numbers of the codes of two bits whose lower one is set: by words, then by bytes, then by codes."""
    words = places_of(flags != 0)
    some = flags.take(words).view(np.uint8)
    inside = places_of(some != 0)
    codes = unpack(some.take(inside), _LOOKED_THROUGH, _LOOKED_THROUGH * len(inside))
    return within(within(words, inside, 3), places_of(codes.view(np.bool_)), 2)


def _shifted(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    shift = cursor.byte()
    if shift >= 8 * dtype.itemsize:
        raise PatchCorrupt(f"shift {shift}")
    run = read_run(cursor, count, dtype, depth + 1)
    return Run(count, run.places, run.values << dtype.type(shift))


def _palette(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    colours = np.frombuffer(cursor.take(cursor.byte() * dtype.itemsize), dtype)
    ranks = read_run(cursor, count, np.dtype("<u1"), depth + 1).dense()
    if int(ranks.max()) > len(colours):
        raise PatchCorrupt("a rank outside its palette")
    values: Symbols = np.append(colours, dtype.type(0)).astype(dtype).take(ranks, mode="clip")
    others = places_of(ranks == len(colours))
    values[others] = read_run(cursor, len(others), dtype, depth + 1).dense()
    return Run(count, None, values)


def unpack(packed: npt.NDArray[np.uint8], pack: int, count: int) -> npt.NDArray[np.uint8]:
    """`count` codes out of bytes that hold `pack` codes each, the first in the lowest bits."""
    if pack == 1:
        return packed
    if pack == BITS:
        return np.unpackbits(packed, bitorder="little")[:count]
    if pack == 2:
        pairs = packed << np.uint16(4)
        pairs |= packed
        pairs &= np.uint16(0x0F0F)
        return pairs.view(np.uint8)[:count]
    # Halves, then quarters of the byte move apart. Products, because what they add nowhere overlaps.
    quads = packed.astype(_QUADS)
    for factor, mask in _APART:
        quads *= factor
        quads &= mask
    return quads.view(np.uint8)[:count]


def _low_bits(cursor: Cursor, count: int, shift: int, dtype: Dtype) -> Symbols:
    """The bits under the tokens, as planes of one bit each, the lowest plane first."""
    plane = -(-count // 8)
    planes = np.frombuffer(cursor.blob(plane * shift), np.uint8).reshape(shift, plane)
    bits = np.unpackbits(planes, axis=1, count=count, bitorder="little")
    return np.asarray(np.einsum("ij,i->j", bits, 1 << np.arange(shift, dtype=dtype)))


def _gaps(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Run:
    nonzeros = cursor.varint()
    if nonzeros > count:
        raise PatchCorrupt("more values than places")
    gaps = read_run(cursor, nonzeros, np.dtype("<u4"), depth + 1).dense()
    rest = read_run(cursor, nonzeros, dtype, depth + 1).dense()
    places = np.cumsum(gaps, dtype=np.int64)
    places += _COUNTING[:nonzeros] if nonzeros <= len(_COUNTING) else np.arange(nonzeros)
    if nonzeros and int(places[-1]) >= count:
        raise PatchCorrupt("a value behind the end of its run")
    return Run(count, places, rest + dtype.type(1))
