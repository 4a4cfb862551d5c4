"""Random encodings of numbers: the runs of a coded payload, written from the specification alone."""

from typing import TypeAlias

import numpy as np
import zstandard

DEEPEST = 4
Random: TypeAlias = "np.random.Generator | Unframed"


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def signed(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


class Unframed:
    """A random generator for payloads without compression, because Zstandard versions decode corrupt frames differently."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __getattr__(self, name: str):
        return getattr(self._rng, name)


def blob(rng: Random, data: bytes) -> bytes:
    if not data or isinstance(rng, Unframed) or rng.random() < 0.5:
        return b"\0" + data
    frame = zstandard.ZstdCompressor(write_checksum=bool(rng.integers(2))).compress(data)[4:]
    return b"\1" + varint(len(frame)) + frame


def run(rng: Random, numbers: np.ndarray, width: int, depth: int = 0) -> bytes:
    """Encode unsigned numbers (as uint64) as a run in a random suitable mode."""
    if len(numbers) == 0:
        return b""
    modes = [_plain] if depth == DEEPEST else [_plain, _packed, _packed, _gaps, _shifted, _palette]
    if not numbers.any():
        modes.append(_zero)
    return modes[int(rng.integers(len(modes)))](rng, numbers, width, depth)


def _zero(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    return b"\0"


def _plain(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    return b"\1" + blob(rng, numbers.astype(f"<u{width}").tobytes())


def _packed(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    per, shift = int(rng.choice([1, 2, 4, 8])), int(rng.choice([0, 0, 1, 3, 8 * width - 1]))
    bits = 8 // per
    top = (1 << bits) - 1
    high = numbers >> np.uint64(shift)
    tokens = np.minimum(high, top).astype(np.uint8)
    filled = np.concatenate([tokens, np.zeros(-len(tokens) % per, np.uint8)]).reshape(-1, per)
    packed = (filled << (np.arange(per, dtype=np.uint8) * bits)).sum(axis=1).astype(np.uint8)
    planes = b"".join(
        np.packbits((numbers >> np.uint64(bit) & np.uint64(1)).astype(np.uint8), bitorder="little").tobytes()
        for bit in range(shift)
    )
    out = b"\2" + bytes((per, shift)) + blob(rng, packed.tobytes())
    out += blob(rng, planes) if shift else b""
    return out + run(rng, high[tokens == top] - np.uint64(top), width, depth + 1)


def _gaps(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    places = np.flatnonzero(numbers)
    gaps = np.diff(places, prepend=-1).astype(np.uint64) - np.uint64(1)
    values = numbers[places] - np.uint64(1)
    return b"\3" + varint(len(places)) + run(rng, gaps, 4, depth + 1) + run(rng, values, width, depth + 1)


def _shifted(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    shift = 0
    while shift < 8 * width - 1 and not (numbers & np.uint64((2 << shift) - 1)).any():
        shift += 1
    return b"\4" + bytes((shift,)) + run(rng, numbers >> np.uint64(shift), width, depth + 1)


def _palette(rng: Random, numbers: np.ndarray, width: int, depth: int) -> bytes:
    values = np.unique(numbers)
    rng.shuffle(values)
    values = values[: int(rng.integers(10))]
    ranks = np.full(len(numbers), len(values), np.uint64)
    for rank, value in enumerate(values):
        ranks[numbers == value] = rank
    out = b"\5" + bytes((len(values),)) + values.astype(f"<u{width}").tobytes()
    return out + run(rng, ranks, 1, depth + 1) + run(rng, numbers[ranks == len(values)], width, depth + 1)
