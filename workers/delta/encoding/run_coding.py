"""Encode a run of small numbers: its density and a sample of it select the representation."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from sdk_contract.patch.payload.cursor import RAW, ZSTD, ZSTD_MAGIC
from sdk_contract.patch.payload.elements import Bytes
from sdk_contract.patch.payload.runs import (
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
from sdk_contract.patch.payload.sparse_indices import Indices

SAMPLE_SYMBOLS = 4096
SPARSE_DENSITY = 0.16
# A device spends as much time on an escape as on a dozen other symbols.
MAX_ESCAPE_SHARE = 0.04
MIN_CODED_SYMBOLS = 16
# For fewer escapes than this, choosing a representation takes longer than storing them plainly.
MIN_CODED_ESCAPES = 8192
MAX_PALETTE = 40
_local = threading.local()


def encode_varint(value: int) -> bytes:
    """Encode an unsigned integer as LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_signed_varint(value: int) -> bytes:
    """Encode a signed integer as zigzag LEB128."""
    return encode_varint(value << 1 if value >= 0 else (-value << 1) - 1)


def encode_blob(data: bytes | memoryview, *, level: int | None = None) -> bytes:
    """Encode bytes as a blob: raw, or one Zstandard frame without its magic, whichever is smaller.

    Args:
        data: the bytes.
        level: Zstandard level for data with repeats; None for Huffman coding only, which suits differences of weights:
            their histogram is skewed and nothing repeats.
    """
    if len(data) < 24:
        return bytes((RAW,)) + bytes(data)
    frame = _compressor(level).compress(data)
    body = frame[len(ZSTD_MAGIC) :]
    compressed = bytes((ZSTD,)) + encode_varint(len(body)) + body
    return compressed if len(compressed) <= len(data) else bytes((RAW,)) + bytes(data)


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
    """Encode numbers for `sdk_contract.patch.payload.runs.read_run`."""
    encoded = _encode_sampled(values, depth)
    if depth == 0 and len(encoded) > max(len(values) * values.dtype.itemsize // 2, 64):
        # The sample can be unrepresentative; the size limits of the applier must still hold.
        encoded = min(encoded, _encode_bounded(values), key=len)
    return encoded


def _encode_bounded(values: Symbols) -> bytes:
    """Encode with four bits per symbol if that is enough, else plainly."""
    if values.dtype.itemsize == 1 and int(values.max()) < 16:
        return _encode_packed(values, 2, 0, 0)
    return _encode_plain(values)


def _encode_sampled(values: Symbols, depth: int) -> bytes:
    count = len(values)
    if count == 0:
        return b""
    nonzeros = int(np.count_nonzero(values))
    if nonzeros == 0:
        return bytes((ZERO,))
    if depth >= MAX_DEPTH - 1 or count < MIN_CODED_SYMBOLS:
        return _encode_plain(values)
    if depth == 0 and values.dtype.itemsize > 1 and (special := _encode_wide(values)):
        return special
    if nonzeros < SPARSE_DENSITY * count:
        indices = np.flatnonzero(values != 0)
        return _encode_gaps(indices, values[indices], depth)
    pack, shift = _choose_packing(values, nonzeros / count)
    is_plain = pack == 1 and values.dtype.itemsize == 1
    return _encode_plain(values) if is_plain else _encode_packed(values, pack, shift, depth)


def _encode_plain(values: Symbols) -> bytes:
    return bytes((PLAIN,)) + encode_blob(values.tobytes())


def encode_sparse_run(run: Run) -> bytes:
    """Encode a run that may be given by its nonzero numbers only."""
    if run.indices is None:
        return encode_run(run.values)
    if (
        run.count < MIN_CODED_SYMBOLS
        or not len(run.indices)
        or len(run.indices) >= SPARSE_DENSITY * run.count
    ):
        return encode_run(run.dense())
    if run.values.dtype.itemsize > 1 and (special := _encode_wide(run.values)) and special[0] == SHIFTED:
        return encode_run(run.dense())
    return _encode_gaps(run.indices, run.values, 0)


def _encode_wide(values: Symbols) -> bytes | None:
    """Encode numbers of several bytes whose low bits are all zero, or that have few distinct values; else None."""
    if unused_bits := _unused_low_bits(values):
        return bytes((SHIFTED, unused_bits)) + encode_run(values >> values.dtype.type(unused_bits), 1)
    if values.dtype.itemsize == 2 and len(palette := _frequent_values(values)):
        return _encode_palette(values, palette, 0)
    return None


def _frequent_values(values: Symbols) -> Symbols:
    """Return the few values that make up most of the run, most frequent first, or nothing.

    Scales move by multiples of the step that they were computed from, so a few large differences are frequent.
    Representations for small numbers do not use that.
    """
    sample = values[:: max(1, len(values) // SAMPLE_SYMBOLS)]
    first = sample[:512]
    if 20 * np.count_nonzero((first > 0) & (first <= 4)) > len(first):
        return sample[:0]
    distinct, counts = np.unique(sample, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_PALETTE]
    covered = int(counts[order].sum())
    left_out = len(distinct) - len(order)
    large = int(counts[order][distinct[order] > 4].sum())
    most_frequent = next((int(value) for value in distinct[order] if value), 0)
    if most_frequent <= 4 or covered < 0.7 * len(sample) or large < 0.1 * len(sample):
        return distinct[:0]
    return distinct[:0] if left_out > 0.3 * len(sample) else distinct[order]


def _encode_palette(values: Symbols, palette: Symbols, depth: int) -> bytes:
    rank_of_value = np.full(1 << 16, len(palette), np.uint8)
    rank_of_value[palette] = np.arange(len(palette), dtype=np.uint8)
    ranks = rank_of_value.take(values)
    others = values[ranks == len(palette)]
    front = bytes((PALETTE, len(palette))) + palette.tobytes()
    return front + encode_run(ranks, depth + 1) + encode_run(others, depth + 1)


def _unused_low_bits(values: Symbols) -> int:
    """Return the number of low bits that are zero in every number: 16 for float32 that was bfloat16."""
    used = int(np.bitwise_or.reduce(values[:64]))
    if used & 1 == 0:
        used = int(np.bitwise_or.reduce(values))
    return (used & -used).bit_length() - 1


def _choose_packing(values: Symbols, density: float) -> tuple[int, int]:
    """Choose symbols per byte and shift, so that the packed bytes suit a Huffman code of at most 11 bits."""
    sample = values[:: max(1, len(values) // SAMPLE_SYMBOLS)]
    shift = 0
    if values.dtype.itemsize > 1:
        rank = len(sample) * 99 // 100
        high = int(np.partition(sample, rank)[rank])
        shift = max(0, high.bit_length() - 7)
    tokens = sample >> shift if shift else sample
    zeros = _true_share(tokens == 0) if shift else 1 - density
    if zeros > 0.8 or _true_share(tokens > 1) < 0.02:
        return 8, shift
    if zeros > 0.3 and _true_share(tokens > 2) < MAX_ESCAPE_SHARE:
        return 4, shift
    return (2 if zeros > 0.05 and _true_share(tokens > 14) < 0.03 else 1), shift


def _true_share(mask: npt.NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(mask)) / len(mask)


def _encode_packed(values: Symbols, pack: int, shift: int, depth: int) -> bytes:
    escape = ESCAPE[pack]
    tokens = values >> values.dtype.type(shift) if shift else values
    is_escape = tokens >= escape
    # With one bit per symbol, the mask is the packed form.
    clipped = (
        is_escape.view(np.uint8) if pack == 8 else np.minimum(tokens, escape).astype(np.uint8, copy=False)
    )
    parts = [bytes((PACKED, pack, shift)), encode_blob(pack_symbols(clipped, pack).data)]
    if shift:
        parts.append(encode_blob(_encode_low_bits(values, shift)))
    escaped = tokens[np.flatnonzero(is_escape)] - tokens.dtype.type(escape)
    if 0 < len(escaped) < MIN_CODED_ESCAPES and escaped.itemsize == 1:
        parts.append(_encode_plain(escaped))
    else:
        parts.append(encode_run(escaped, depth + 1))
    return b"".join(parts)


def pack_symbols(symbols: Bytes, pack: int) -> Bytes:
    """Pack `pack` symbols into a byte, the first in the lowest bits; the last byte is padded with zeros."""
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


def _encode_low_bits(values: Symbols, shift: int) -> bytes:
    planes = []
    for bit in range(shift):
        if bit % 8 == 0:
            low = (values >> values.dtype.type(bit)).astype(np.uint8)
        planes.append(np.packbits(low & np.uint8(1 << bit % 8), bitorder="little").tobytes())
    return b"".join(planes)


def _encode_gaps(indices: Indices, values: Symbols, depth: int) -> bytes:
    gaps = np.empty(len(indices), "<u4")
    gaps[0] = indices[0]
    np.subtract(indices[1:], indices[:-1] + 1, out=gaps[1:], casting="unsafe")
    values_minus_one = values - values.dtype.type(1)
    front = bytes((GAPS,)) + encode_varint(len(indices))
    return front + encode_run(gaps, depth + 1) + encode_run(values_minus_one, depth + 1)
