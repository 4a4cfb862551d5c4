"""Encoding a run: choosing how to store `n` small numbers, from their density and a sample of them."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from sdk_contract.patch.codecs import (
    ESCAPE,
    GAPS,
    MAX_DEPTH,
    PACKED,
    PALETTE,
    PLAIN,
    SHIFTED,
    ZERO,
    Run,
    Symbols,
)
from sdk_contract.patch.cursor import RAW, ZSTD, ZSTD_MAGIC
from sdk_contract.patch.places import Places
from sdk_contract.patch.transforms import Bytes

SAMPLE = 4096
SPARSE = 0.16
# A device takes as long for an escape as for a dozen other numbers.
FEW = 0.04
TINY = 16
# Below this a run of escapes is done before a second look at it would be: it is stored as it is.
SHORT = 8192
PALETTE_SIZE = 40
_local = threading.local()


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Zigzag LEB128."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def blob(data: bytes | memoryview, *, level: int | None = None) -> bytes:
    """Bytes as a blob: raw, or one Zstandard frame without its magic, whichever is smaller.

    Args:
        data: the bytes.
        level: Zstandard's level where repeats are likely; None for Huffman coding alone, which suits
            differences of weights: they have a skewed histogram and nothing that repeats.
    """
    if len(data) < 24:
        return bytes((RAW,)) + bytes(data)
    frame = _compressor(level).compress(data)
    body = frame[len(ZSTD_MAGIC) :]
    coded = bytes((ZSTD,)) + varint(len(body)) + body
    return coded if len(coded) <= len(data) else bytes((RAW,)) + bytes(data)


def _compressor(level: int | None) -> zstandard.ZstdCompressor:
    cache: dict[int | None, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in cache:
        if level is None:
            huffman = zstandard.ZstdCompressionParameters(
                strategy=zstandard.STRATEGY_FAST, window_log=17, hash_log=6, min_match=7
            )
            cache[level] = zstandard.ZstdCompressor(compression_params=huffman)
        else:
            params = zstandard.ZstdCompressionParameters.from_level(level, window_log=20)
            cache[level] = zstandard.ZstdCompressor(compression_params=params)
    return cache[level]


def encode_run(values: Symbols, depth: int = 0) -> bytes:
    """The bytes that `sdk_contract.patch.codecs.read_run` turns back into `values`."""
    coded = _encoded(values, depth)
    if depth == 0 and len(coded) > max(len(values) * values.dtype.itemsize // 2, 64):
        # What a sample says may be wrong; a reader's limits are not.
        plain = _bounded(values)
        coded = min(coded, plain, key=len)
    return coded


def _bounded(values: Symbols) -> bytes:
    """Four bits a symbol where that is enough, else the symbols as they are."""
    if values.dtype.itemsize == 1 and int(values.max()) < 16:
        return _packed(values, 2, 0, 0)
    return _plain(values)


def _encoded(values: Symbols, depth: int) -> bytes:
    count = len(values)
    if count == 0:
        return b""
    nonzeros = int(np.count_nonzero(values))
    if nonzeros == 0:
        return bytes((ZERO,))
    if depth >= MAX_DEPTH - 1 or count < TINY:
        return _plain(values)
    if depth == 0 and values.dtype.itemsize > 1 and (special := _special(values)):
        return special
    if nonzeros < SPARSE * count:
        places = np.flatnonzero(values != 0)
        return _gaps(places, values[places], depth)
    pack, shift = _choose(values, nonzeros / count)
    plain = pack == 1 and values.dtype.itemsize == 1
    return _plain(values) if plain else _packed(values, pack, shift, depth)


def _plain(values: Symbols) -> bytes:
    return bytes((PLAIN,)) + blob(values.tobytes())


def encode_sparse(run: Run) -> bytes:
    """The same for a run that may be known by its nonzero numbers only."""
    if run.places is None:
        return encode_run(run.values)
    if run.count < TINY or not len(run.places) or len(run.places) >= SPARSE * run.count:
        return encode_run(run.dense())
    if run.values.dtype.itemsize > 1 and (special := _special(run.values)) and special[0] == SHIFTED:
        return encode_run(run.dense())
    return _gaps(run.places, run.values, 0)


def _special(values: Symbols) -> bytes | None:
    """Wide numbers that share idle low bits, or that are nearly all from a handful."""
    if idle := _idle_bits(values):
        return bytes((SHIFTED, idle)) + encode_run(values >> values.dtype.type(idle), 1)
    if values.dtype.itemsize == 2 and len(colours := _frequent(values)):
        return _palette(values, colours, 0)
    return None


def _frequent(values: Symbols) -> Symbols:
    """The few numbers that nearly all others equal, most frequent first, or none.

    Scales move by whole steps of what they were computed from, so that a handful of differences far from
    zero are the rule; codes for small numbers miss that.
    """
    sample = values[:: max(1, len(values) // SAMPLE)]
    glance = sample[:512]
    if 20 * np.count_nonzero((glance > 0) & (glance <= 4)) > len(glance):
        return sample[:0]
    found, counts = np.unique(sample, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PALETTE_SIZE]
    common = int(counts[order].sum())
    outside = len(found) - len(order)
    far = int(counts[order][found[order] > 4].sum())
    usual = next((int(number) for number in found[order] if number), 0)
    if usual <= 4 or common < 0.7 * len(sample) or far < 0.1 * len(sample) or outside > 0.3 * len(sample):
        return found[:0]
    return found[order]


def _palette(values: Symbols, colours: Symbols, depth: int) -> bytes:
    rank_of = np.full(1 << 16, len(colours), np.uint8)
    rank_of[colours] = np.arange(len(colours), dtype=np.uint8)
    ranks = rank_of.take(values)
    others = values[ranks == len(colours)]
    front = bytes((PALETTE, len(colours))) + colours.tobytes()
    return front + encode_run(ranks, depth + 1) + encode_run(others, depth + 1)


def _idle_bits(values: Symbols) -> int:
    """Low bits that are zero in every number: float32 that was bfloat16 has sixteen."""
    used = int(np.bitwise_or.reduce(values[:64]))
    if used & 1 == 0:
        used = int(np.bitwise_or.reduce(values))
    return (used & -used).bit_length() - 1


def _choose(values: Symbols, density: float) -> tuple[int, int]:
    """Symbols per byte and shift, such that the packed bytes suit a Huffman code of at most 11 bits."""
    sample = values[:: max(1, len(values) // SAMPLE)]
    shift = 0
    if values.dtype.itemsize > 1:
        rank = len(sample) * 99 // 100
        high = int(np.partition(sample, rank)[rank])
        shift = max(0, high.bit_length() - 7)
    tokens = sample >> shift if shift else sample
    zeros = _share(tokens == 0) if shift else 1 - density
    if zeros > 0.8 or _share(tokens > 1) < 0.02:
        return 8, shift
    if zeros > 0.3 and _share(tokens > 2) < FEW:
        return 4, shift
    return (2 if zeros > 0.05 and _share(tokens > 14) < 0.03 else 1), shift


def _share(which: npt.NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(which)) / len(which)


def _packed(values: Symbols, pack: int, shift: int, depth: int) -> bytes:
    escape = ESCAPE[pack]
    tokens = values >> values.dtype.type(shift) if shift else values
    over = tokens >= escape
    # One bit a symbol is the mask itself.
    clipped = over.view(np.uint8) if pack == 8 else np.minimum(tokens, escape).astype(np.uint8, copy=False)
    escaped = np.flatnonzero(over)
    parts = [bytes((PACKED, pack, shift)), blob(pack_symbols(clipped, pack).data)]
    if shift:
        parts.append(blob(_low_bits(values, shift)))
    rest = tokens[escaped] - tokens.dtype.type(escape)
    parts.append(
        _plain(rest) if 0 < len(rest) < SHORT and rest.itemsize == 1 else encode_run(rest, depth + 1)
    )
    return b"".join(parts)


def pack_symbols(symbols: Bytes, pack: int) -> Bytes:
    """`pack` symbols to a byte, the first in the lowest bits; zeros fill the last byte."""
    if pack == 1:
        return np.ascontiguousarray(symbols)
    if pack == 8:
        return np.packbits(symbols, bitorder="little")
    padded = (
        symbols
        if len(symbols) % pack == 0
        else np.concatenate([symbols, np.zeros(-len(symbols) % pack, np.uint8)])
    )
    bits = 8 // pack
    words: npt.NDArray[Any] = np.frombuffer(padded.tobytes(), f"<u{pack}")
    merged = words | (words >> (8 - bits))
    if pack == 4:
        merged |= merged >> (2 * (8 - bits))
    return np.asarray(merged.astype(np.uint8))


def _low_bits(values: Symbols, shift: int) -> bytes:
    planes = []
    for bit in range(shift):
        if bit % 8 == 0:
            low = (values >> values.dtype.type(bit)).astype(np.uint8)
        planes.append(np.packbits(low & np.uint8(1 << bit % 8), bitorder="little").tobytes())
    return b"".join(planes)


def _gaps(places: Places, values: Symbols, depth: int) -> bytes:
    gaps = np.empty(len(places), "<u4")
    gaps[0] = places[0]
    np.subtract(places[1:], places[:-1] + 1, out=gaps[1:], casting="unsafe")
    rest = values - values.dtype.type(1)
    front = bytes((GAPS,)) + varint(len(places))
    return front + encode_run(gaps, depth + 1) + encode_run(rest, depth + 1)
