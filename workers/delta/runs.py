"""Encoding a run: choosing how to store `n` small numbers, from their density and a sample of them."""

import threading

import numpy as np
import zstandard

from sdk_contract.patch.codecs import ESCAPE, GAPS, MAX_DEPTH, PACKED, PLAIN, ZERO, Symbols
from sdk_contract.patch.cursor import RAW, ZSTD, ZSTD_MAGIC
from sdk_contract.patch.transforms import Bytes

SAMPLE = 8192
SPARSE = 0.012
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
    count = len(values)
    if count == 0:
        return b""
    nonzeros = int(np.count_nonzero(values))
    if nonzeros == 0:
        return bytes((ZERO,))
    if depth >= MAX_DEPTH - 1 or count < 16:
        return bytes((PLAIN,)) + blob(values.tobytes())
    if nonzeros < SPARSE * count:
        return _gaps(values, nonzeros, depth)
    pack, shift = _choose(values, nonzeros / count)
    return _packed(values, pack, shift, depth)


def _choose(values: Symbols, density: float) -> tuple[int, int]:
    """Symbols per byte and shift, such that the packed bytes suit a Huffman code of at most 11 bits."""
    sample = values[:: max(1, len(values) // SAMPLE)]
    shift = 0
    if values.dtype.itemsize > 1:
        high = int(np.quantile(sample, 0.99, method="lower"))
        shift = max(0, high.bit_length() - 7)
    zeros = 1 - density if shift == 0 else float(np.mean((sample >> shift) == 0))
    if zeros > 0.82:
        return 8, shift
    if zeros > 0.63:
        return 4, shift
    return (2 if zeros > 0.38 else 1), shift


def _packed(values: Symbols, pack: int, shift: int, depth: int) -> bytes:
    escape = ESCAPE[pack]
    tokens = values >> values.dtype.type(shift) if shift else values
    clipped = np.minimum(tokens, escape).astype(np.uint8, copy=False)
    escaped = np.flatnonzero(tokens >= escape)
    parts = [bytes((PACKED, pack, shift)), blob(pack_symbols(clipped, pack).data)]
    if shift:
        parts.append(blob(_low_bits(values, shift)))
    parts.append(encode_run(tokens[escaped] - tokens.dtype.type(escape), depth + 1))
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
    words: Symbols = np.ascontiguousarray(padded).view("<u2" if pack == 2 else "<u4")
    merged: Symbols = words | (words >> (8 - bits))
    if pack == 4:
        merged |= merged >> (2 * (8 - bits))
    return np.asarray(merged.astype(np.uint8))


def _low_bits(values: Symbols, shift: int) -> bytes:
    planes = [np.packbits((values >> bit) & 1, bitorder="little") for bit in range(shift)]
    return b"".join(plane.tobytes() for plane in planes)


def _gaps(values: Symbols, nonzeros: int, depth: int) -> bytes:
    places = np.flatnonzero(values)
    gaps = (np.diff(places, prepend=-1) - 1).astype("<u4")
    rest = values[places] - values.dtype.type(1)
    return bytes((GAPS,)) + varint(nonzeros) + encode_run(gaps, depth + 1) + encode_run(rest, depth + 1)
