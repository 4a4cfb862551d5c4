"""Decoding a run: `n` small unsigned numbers, most of them near zero (see `README.md`, "Runs")."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported

Symbols: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
Dtype: TypeAlias = "np.dtype[np.unsignedinteger[Any]]"

ZERO, PLAIN, PACKED, GAPS = range(4)
MAX_DEPTH = 4
# Symbols per byte -> the code that announces an escape: 255, 15, 3 or 1.
ESCAPE = {1: 255, 2: 15, 4: 3, 8: 1}


def _tables() -> dict[int, npt.NDArray[Any]]:
    """For each packing, the symbols of every byte as one wide number, first symbol lowest."""
    codes = np.arange(256, dtype=np.uint64)
    tables: dict[int, npt.NDArray[Any]] = {}
    for pack, dtype in ((2, np.uint16), (4, np.uint32)):
        bits = 8 // pack
        wide = sum(
            ((codes >> np.uint64(bits * i)) & np.uint64(ESCAPE[pack])) << np.uint64(8 * i)
            for i in range(pack)
        )
        tables[pack] = np.asarray(wide).astype(np.dtype(dtype).newbyteorder("<"))
    return tables


_UNPACK = _tables()


def read_run(cursor: Cursor, count: int, dtype: Dtype, depth: int = 0) -> Symbols:
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
        return np.zeros(0, dtype)
    mode = cursor.byte()
    if mode == ZERO:
        return np.zeros(count, dtype)
    if mode == PLAIN:
        return np.frombuffer(cursor.blob(count * dtype.itemsize), dtype)
    if mode == PACKED:
        return _packed(cursor, count, dtype, depth)
    if mode == GAPS:
        return _gaps(cursor, count, dtype, depth)
    raise PatchUnsupported(f"run mode {mode}")


def _packed(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Symbols:
    pack, shift = cursor.byte(), cursor.byte()
    if pack not in ESCAPE or shift >= 8 * dtype.itemsize:
        raise PatchCorrupt(f"packing {pack}, shift {shift}")
    tokens = unpack(np.frombuffer(cursor.blob(-(-count // pack)), np.uint8), pack, count)
    low = _low_bits(cursor, count, shift, dtype) if shift else None
    escaped = np.flatnonzero(tokens == ESCAPE[pack])
    values: Symbols = tokens.astype(dtype, copy=False)
    if len(escaped):
        rest = read_run(cursor, len(escaped), dtype, depth + 1)
        values = values if values.flags.writeable else values.copy()
        values[escaped] = rest + dtype.type(ESCAPE[pack])
    if low is None:
        return values
    return (values << dtype.type(shift)) | low


def unpack(packed: npt.NDArray[np.uint8], pack: int, count: int) -> npt.NDArray[np.uint8]:
    """`count` codes out of bytes that hold `pack` codes each, the first in the lowest bits."""
    if pack == 1:
        return packed
    if pack == 8:
        return np.unpackbits(packed, bitorder="little")[:count]
    return np.take(_UNPACK[pack], packed).view(np.uint8)[:count]


def _low_bits(cursor: Cursor, count: int, shift: int, dtype: Dtype) -> Symbols:
    """The bits under the tokens, as planes of one bit each, the lowest plane first."""
    plane = -(-count // 8)
    planes = np.frombuffer(cursor.blob(plane * shift), np.uint8).reshape(shift, plane)
    low: Symbols = np.zeros(count, dtype)
    for bit in range(shift):
        ones = np.unpackbits(planes[bit], bitorder="little")[:count]
        low |= ones.astype(dtype) << dtype.type(bit)
    return low


def _gaps(cursor: Cursor, count: int, dtype: Dtype, depth: int) -> Symbols:
    nonzeros = cursor.varint()
    if nonzeros > count:
        raise PatchCorrupt("more values than places")
    gaps = read_run(cursor, nonzeros, np.dtype("<u4"), depth + 1)
    rest = read_run(cursor, nonzeros, dtype, depth + 1)
    places = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if nonzeros and int(places[-1]) >= count:
        raise PatchCorrupt("a value behind the end of its run")
    values: Symbols = np.zeros(count, dtype)
    values[places] = rest + dtype.type(1)
    return values
