"""Random coded payloads, written from the specification alone; their targets are computed without our own decoder."""

from dataclasses import dataclass

import numpy as np

from tests.sdk_contract.patch.random_runs import Random, blob, run, signed, varint

INT8, INT4, BF16, F16, F32, INT16, INT32, XOR8 = range(1, 9)
WIDTH = {INT8: 1, INT4: 1, BF16: 2, F16: 2, F32: 4, INT16: 2, INT32: 4, XOR8: 1}
EXPONENT = {BF16: (7, 0xFF), F16: (10, 0x1F), F32: (23, 0xFF)}
COPY, ZERO, LITERAL, DELTA, BSDIFF = range(5)


@dataclass(frozen=True)
class Payload:
    """A coded block: the fields of its record, its payload, its source and its target."""

    source: bytes
    source_offset: int
    source_span: int
    source_size: int
    data: bytes
    target: bytes


def _symbols(rng: Random, element: int, count: int) -> np.ndarray:
    most = 16 if element == INT4 else 1 << (8 * WIDTH[element])
    scale = float(rng.choice([0.0, 0.2, 2, 40, 300, 1e6]))
    return np.minimum(np.abs(rng.normal(0, 1, count)) * scale, most - 1).astype(np.uint64)


def _cuts(rng: Random, most: int, keys: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Random cuts as bytes of the payload, and the group of each key."""
    some = np.concatenate([keys, np.arange(256)])
    cuts = np.unique(rng.choice(some, int(rng.integers(1, most + 1)))).astype(np.uint8)
    return bytes((len(cuts), *cuts)), np.searchsorted(cuts, keys, side="right")


def _quads(rng: Random, width: int, groups: np.ndarray, count: int, symbols: np.ndarray) -> bytes:
    filling = -len(symbols) % 4
    tokens = np.concatenate([np.minimum(symbols, 255), np.zeros(filling, np.uint64)]).reshape(-1, 4)
    sides = np.concatenate([groups, np.zeros(filling, np.int64)]).reshape(-1, 4)
    classes = sides @ np.array([1, 4, 16, 64])
    order = np.argsort(classes, kind="stable")
    out = b""
    for group in range(count):
        parts = [tokens[order, side][sides[order, side] == group] for side in (3, 2, 1, 0)]
        out += run(rng, np.concatenate(parts), 1)
    return out + run(rng, symbols[symbols >= 255] - np.uint64(255), width)


@dataclass
class _Field:
    offset: int
    length: int
    element: int
    keys: np.ndarray | None = None


def _grouped(rng: Random, fields: list[_Field], field: _Field, old: np.ndarray, symbols: np.ndarray) -> bytes:
    """Encode a field's data, from its old values as unsigned numbers and its symbols."""
    width = WIDTH[field.element]
    leaders = [number for number, each in enumerate(fields) if each.keys is not None]
    grouping = int(rng.choice([0, *([1, 3] if field.element in EXPONENT else []), *([2] if leaders else [])]))
    if grouping == 0:
        return b"\0" + run(rng, symbols, width)
    if grouping == 2:
        leader = int(rng.choice(leaders))
        keys = fields[leader].keys
        assert keys is not None
        cuts, groups = _cuts(rng, 31, keys)
        groups, head = np.repeat(groups, len(symbols) // len(keys)), bytes((2, leader))
    else:
        shift, mask = EXPONENT[field.element]
        cuts, groups = _cuts(rng, 31 if grouping == 1 else 3, old.astype(np.int64) >> shift & mask)
        head = bytes((grouping,))
    if grouping == 3:
        return head + cuts + _quads(rng, width, groups, cuts[0] + 1, symbols)
    return head + cuts + b"".join(run(rng, symbols[groups == group], width) for group in range(cuts[0] + 1))


def _changed(element: int, old: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    if element == XOR8:
        changed: np.ndarray = old ^ symbols
        return changed
    return old + ((symbols >> np.uint64(1)) ^ (np.uint64(0) - (symbols & np.uint64(1))))


def _delta(rng: Random, fields: list[_Field], bytes_: np.ndarray) -> bytes:
    """Encode a delta lane's data; `bytes_` (units, stride) is changed to the new bytes."""
    data = b""
    for field in sorted(fields, key=lambda each: each.element not in EXPONENT):
        raw = np.ascontiguousarray(bytes_[:, field.offset : field.offset + field.length])
        width, half = WIDTH[field.element], field.element == INT4
        old = raw.reshape(-1).view(f"<u{width}").astype(np.uint64)
        if half:
            old = np.stack([old & np.uint64(15), old >> np.uint64(4)], axis=1).reshape(-1)
        symbols = _symbols(rng, field.element, len(old))
        data += _grouped(rng, fields, field, old, symbols)
        new = _changed(field.element, old, symbols)
        if half:
            new = (new[::2] & np.uint64(15)) | (new[1::2] & np.uint64(15)) << np.uint64(4)
        stored = (new & np.uint64((1 << 8 * width) - 1)).astype(f"<u{width}").view(np.uint8)
        bytes_[:, field.offset : field.offset + field.length] = stored.reshape(len(bytes_), -1)
        if field.element in EXPONENT:
            largest = symbols.reshape(len(bytes_), -1).max(axis=1)
            field.keys = np.array([min(int(each).bit_length(), 15) for each in largest])
    return data


def _bsdiff(rng: Random, source: bytes, size: int) -> tuple[bytes, bytes]:
    """Encode a bsdiff segment; returns its data and its target."""
    control, added, inserted, target, position, count = b"", b"", b"", b"", 0, 0
    while len(target) < size:
        add = min(int(rng.integers(40)), len(source) - position, size - len(target))
        insert = min(int(rng.integers(9)), size - len(target) - add)
        differences, fresh = rng.bytes(add), rng.bytes(insert)
        old = source[position : position + add]
        target += bytes((one + other) & 255 for one, other in zip(old, differences, strict=True)) + fresh
        seek = int(rng.integers(len(source) + 1)) - position - add
        control += varint(add) + varint(insert) + signed(seek)
        added, inserted, position, count = (
            added + differences,
            inserted + fresh,
            position + add + seek,
            count + 1,
        )
    front = varint(count) + varint(len(control))
    return front + blob(rng, control) + blob(rng, added) + blob(rng, inserted), target


def _fields(rng: Random) -> list[_Field]:
    fields, offset = [], 0
    for _ in range(int(rng.integers(1, 5))):
        element = int(rng.integers(INT8, XOR8 + 1))
        length = WIDTH[element] * int(rng.choice([1, 1, 2, 7]))
        fields.append(_Field(offset, length, element))
        offset += length
    return fields[:1] if rng.random() < 0.3 else fields


@dataclass
class _Part:
    """One segment: its lane, the source bytes that it reads, and its target size."""

    lane: int
    source: bytes
    size: int


def any_payload(rng: Random) -> Payload:
    """Create a random block of one to four lanes of any kind, each with one to three segments."""
    source = rng.bytes(int(rng.integers(3000, 6000)))
    kinds = [
        int(kind)
        for kind in rng.choice([COPY, ZERO, LITERAL, DELTA, DELTA, DELTA, BSDIFF], rng.integers(1, 5))
    ]
    fields = [_fields(rng) if kind == DELTA else [] for kind in kinds]
    strides = [sum(field.length for field in each) or 1 for each in fields]
    order = rng.permutation(np.repeat(np.arange(len(kinds)), rng.integers(1, 4, len(kinds))))
    lanes = _lanes(kinds, strides, fields)
    segments, parts, ranges = _segments(rng, source, kinds, strides, order)
    data, targets = b"", dict[int, bytes]()
    for lane, kind in enumerate(kinds):
        own = [number for number, part in enumerate(parts) if part.lane == lane]
        lane_data, lane_targets = _lane_data(rng, kind, strides[lane], fields[lane], [parts[n] for n in own])
        data += lane_data
        targets |= dict(zip(own, lane_targets, strict=True))
    target = b"".join(targets[number] for number in range(len(parts)))
    span = max((begin + length for begin, length in ranges), default=0)
    return Payload(source, 0, span, sum(length for _, length in ranges), lanes + segments + data, target)


def _lanes(kinds: list[int], strides: list[int], fields: list[list[_Field]]) -> bytes:
    lanes = varint(len(kinds))
    for kind, stride, each in zip(kinds, strides, fields, strict=True):
        lanes += bytes((kind,))
        if kind == DELTA:
            lanes += varint(stride) + varint(len(each))
            lanes += b"".join(varint(field.length) + bytes((field.element,)) for field in each)
    return lanes


def _segments(
    rng: Random, source: bytes, kinds: list[int], strides: list[int], order: np.ndarray
) -> tuple[bytes, list[_Part], list[tuple[int, int]]]:
    """The encoded segments, their parts, and the source ranges as offset and length."""
    segments, position = varint(len(order)), 0
    ranges: list[tuple[int, int]] = []
    parts = []
    for lane in order:
        size = int(rng.integers(1, 600 // strides[lane] + 2)) * strides[lane]
        segments += varint(int(lane)) + varint(size)
        read = b""
        if kinds[lane] in (COPY, DELTA, BSDIFF):
            length = int(rng.integers(1, 500)) if kinds[lane] == BSDIFF else size
            begin = int(rng.integers(len(source) - length + 1))
            segments += signed(begin - position if ranges else 0)
            begin = begin if ranges else 0
            segments += varint(length) if kinds[lane] == BSDIFF else b""
            position, read = begin + length, source[begin : begin + length]
            ranges.append((begin, length))
        parts.append(_Part(int(lane), read, size))
    return segments, parts, ranges


def _lane_data(
    rng: Random, kind: int, stride: int, fields: list[_Field], parts: list[_Part]
) -> tuple[bytes, list[bytes]]:
    """The encoded data of a lane, and the target bytes of each of its segments."""
    if kind == BSDIFF:
        coded = [_bsdiff(rng, part.source, part.size) for part in parts]
        return b"".join(data for data, _ in coded), [target for _, target in coded]
    size = sum(part.size for part in parts)
    data, target = b"", b"".join(part.source for part in parts) or bytes(size)
    if kind == LITERAL:
        target = rng.bytes(size)
        data = blob(rng, target)
    if kind == DELTA:
        units = np.frombuffer(target, np.uint8).copy().reshape(-1, stride)
        data = _delta(rng, fields, units)
        target = units.tobytes()
    ends = np.cumsum([part.size for part in parts])
    return data, [target[end - part.size : end] for end, part in zip(ends, parts, strict=True)]
