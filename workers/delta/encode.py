"""Encoding one block: from source and target bytes to a payload."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdk_contract.patch.codecs import Run, Symbols
from sdk_contract.patch.container import DIGEST_SIZE, EMPTY_DIGEST
from sdk_contract.patch.groups import BY_EXPONENT, IN_QUADS
from sdk_contract.patch.plan import Lane, LaneKind, coding_order
from sdk_contract.patch.transforms import Bytes, differences, has_key
from sdk_contract.patch.units import take_field
from workers.delta.align import Piece
from workers.delta.bsdiff import encode_bsdiff
from workers.delta.coded import EncodedBlock, EncodedPiece, reads
from workers.delta.grouping import encode_field
from workers.delta.lanes import BYTES, COPY, FLOAT32, INTEGERS32, LITERAL, NIBBLES, WIDENED_BFLOAT16, ZERO
from workers.delta.layouts.layout import RangeReader
from workers.delta.runs import blob, signed, varint

LITERAL_LEVEL = 6
SAMPLED = 1 << 15
# Most tensors differ early; NumPy compares whole arrays.
GLANCE = 1 << 12
CLOSE = 64 << 10


def encode_block(
    pieces: tuple[Piece, ...], source: RangeReader, target: RangeReader, *, reversible: bool = False
) -> EncodedBlock:
    """Read the pieces' ranges and code them.

    Args:
        pieces: consecutive target ranges.
        source: the old file.
        target: the new file.
        reversible: group differences only in ways that the new values alone can undo.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    begin, size = pieces[0].target_offset, sum(piece.size for piece in pieces)
    data = target.read(begin, size)
    new = np.frombuffer(data, np.uint8)
    parts = []
    for piece, old in zip(pieces, read_sources(pieces, source), strict=True):
        at = piece.target_offset - begin
        parts.append(_part(piece, old, new[at : at + piece.size], reversible=reversible))
    payload, shares, invertible = _payload(parts, reversible=reversible)
    encoded = tuple(
        EncodedPiece(part.piece, part.lane, part.values, changed, cost)
        for part, (changed, cost) in zip(parts, shares, strict=True)
    )
    used = joined([part.old for part in parts])
    payload_digest = short_digest(payload) if payload else EMPTY_DIGEST
    # The whole source is hashed anyway; to hash it twice is a tenth of building, so only who goes back gets it.
    source_digest = short_digest(used) if reversible else EMPTY_DIGEST
    return EncodedBlock(encoded, data, used, payload, invertible, source_digest, payload_digest)


def read_sources(pieces: Sequence[Piece], source: RangeReader) -> list[Bytes]:
    """The source bytes of each piece, in one read where they lie close: a read may be a request.

    Raises:
        EOFError, OSError: the file cannot be read.
    """
    begin = min((piece.source_offset for piece in pieces if piece.source_size), default=0)
    end = max((piece.source_offset + piece.source_size for piece in pieces if piece.source_size), default=0)
    if end - begin > 2 * sum(piece.source_size for piece in pieces) + CLOSE:
        reads = [source.read(piece.source_offset, piece.source_size) for piece in pieces]
        return [np.frombuffer(data, np.uint8) for data in reads]
    hull = np.frombuffer(source.read(begin, end - begin), np.uint8)
    offsets = [piece.source_offset - begin if piece.source_size else 0 for piece in pieces]
    return [hull[at : at + piece.source_size] for at, piece in zip(offsets, pieces, strict=True)]


def joined(parts: Sequence[Bytes]) -> memoryview:
    """The parts' bytes, one after the other; without a copy where only one has any."""
    filled = [part for part in parts if len(part)]
    return _join(filled).data if filled else memoryview(b"")


def short_digest(data: bytes | memoryview) -> bytes:
    """First 16 bytes of the SHA-256."""
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece with its bytes and the lane chosen for them."""

    piece: Piece
    lane: Lane
    old: Bytes
    new: Bytes

    @property
    def values(self) -> int:
        """How many values there are: bytes, where a unit holds several kinds."""
        return len(self.new) // (self.lane.stride if len(self.lane.fields) == 1 else 1)


def _part(piece: Piece, old: Bytes, new: Bytes, *, reversible: bool) -> _Part:
    lane = _lane_for(piece, old, new)
    if reversible and lane.kind is LaneKind.BSDIFF and len(old) == len(new):
        lane = BYTES
    return _Part(piece, lane, old if reads(lane) else old[:0], new)


def _lane_for(piece: Piece, old: Bytes, new: Bytes) -> Lane:
    if len(old) == len(new) and np.array_equal(old[:GLANCE], new[:GLANCE]) and np.array_equal(old, new):
        return COPY
    if not new[:GLANCE].any() and not new.any():
        return ZERO
    if not piece.source_size:
        return LITERAL
    if (
        piece.lane == FLOAT32
        and not (old.view("<u4") & 0xFFFF).any()
        and not (new.view("<u4") & 0xFFFF).any()
    ):
        return WIDENED_BFLOAT16
    if piece.lane in (BYTES, INTEGERS32) and _holds_nibbles(old, new):
        return NIBBLES
    return piece.lane


def _holds_nibbles(old: Bytes, new: Bytes) -> bool:
    """Whether each byte holds two codes: then high halves change alone as often as low ones do."""
    differ = old[:SAMPLED] ^ new[:SAMPLED]
    high = np.count_nonzero((differ & 0x0F == 0) & (differ != 0))
    low = np.count_nonzero((differ & 0xF0 == 0) & (differ != 0))
    return bool(2 * high > low)


def _payload(parts: list[_Part], *, reversible: bool) -> tuple[bytes, list[tuple[int, int]], bool]:
    """The coded bytes; for each part, its changed values and its share of the bytes; whether it can be undone."""
    lanes = sorted({part.lane for part in parts}, key=lambda lane: (lane.kind, lane.stride, lane.fields))
    shares = [(0, 0)] * len(parts)
    if lanes == [ZERO] or (lanes == [COPY] and _one_range(parts)):
        return b"", shares, True
    coded, invertible = [_front(parts, lanes)], True
    size = sum(len(part.new) for part in parts)
    for lane in lanes:
        members = [number for number, part in enumerate(parts) if part.lane == lane]
        made = _lane_data(lane, [parts[number] for number in members], size, reversible=reversible)
        coded.append(made.data)
        invertible = invertible and made.invertible
        total = max(1, sum(made.changed))
        for number, changed in zip(members, made.changed, strict=True):
            shares[number] = changed, len(made.data) * changed // total
    return b"".join(coded), shares, invertible


def _one_range(parts: list[_Part]) -> bool:
    """Whether each part's source begins where the one before ended."""
    ends = [part.piece.source_offset + part.piece.source_size for part in parts]
    return all(part.piece.source_offset == end for part, end in zip(parts[1:], ends, strict=False))


@dataclass(frozen=True, slots=True)
class _LaneData:
    """A lane's bytes, the changed values of each of its parts, and whether it can be undone."""

    data: bytes
    changed: list[int]
    invertible: bool


def _lane_data(lane: Lane, parts: list[_Part], block_size: int, *, reversible: bool) -> _LaneData:
    sizes = [len(part.new) for part in parts]
    if lane.kind is LaneKind.LITERAL:
        data = b"".join(part.new.data for part in parts)
        return _LaneData(min(blob(data), blob(data, level=LITERAL_LEVEL), key=len), sizes, invertible=True)
    if lane.kind is LaneKind.BSDIFF:
        data = b"".join(encode_bsdiff(part.old.tobytes(), part.new.tobytes()) for part in parts)
        return _LaneData(data, sizes, invertible=False)
    if lane.kind is LaneKind.DELTA:
        old, new = (_join([part.old for part in parts]), _join([part.new for part in parts]))
        data, invertible, run = _delta(lane, old, new, block_size, reversible=reversible)
        return _LaneData(data, _changes(parts, run), invertible)
    return _LaneData(b"", [0] * len(parts), invertible=True)


def _changes(parts: list[_Part], run: Run | None) -> list[int]:
    """How many values of each part changed: counted from the symbols where they are one per value."""
    if run is None or run.count != sum(part.values for part in parts):
        return [int(np.count_nonzero(part.old != part.new)) for part in parts]
    ends = np.cumsum([part.values for part in parts])
    if run.places is not None:
        return [int(count) for count in np.diff(np.searchsorted(run.places, ends), prepend=0)]
    begins = [0, *ends[:-1]]
    return [int(np.count_nonzero(run.values[b:e])) for b, e in zip(begins, ends, strict=True)]


def _join(parts: list[Bytes]) -> Bytes:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _front(parts: list[_Part], lanes: list[Lane]) -> bytes:
    coded = [varint(len(lanes))]
    for lane in lanes:
        coded.append(bytes((lane.kind,)))
        if lane.kind is LaneKind.DELTA:
            coded.append(varint(lane.stride) + varint(len(lane.fields)))
            coded.extend(varint(field.length) + bytes((field.element,)) for field in lane.fields)
    segments = _segments(parts)
    coded.append(varint(len(segments)))
    at = min((piece.source_offset for lane, piece in segments if reads(lane)), default=0)
    for lane, piece in segments:
        coded.append(varint(lanes.index(lane)) + varint(piece.size))
        if reads(lane):
            coded.append(signed(piece.source_offset - at))
            at = piece.source_offset + piece.source_size
        if lane.kind is LaneKind.BSDIFF:
            coded.append(varint(piece.source_size))
    return b"".join(coded)


def _segments(parts: list[_Part]) -> list[tuple[Lane, Piece]]:
    """Parts as segments; neighbours of one lane that are neighbours in the source too are one."""
    segments: list[tuple[Lane, Piece]] = []
    for part in parts:
        lane, piece = part.lane, part.piece
        last = segments[-1][1] if segments and segments[-1][0] == lane else None
        joins = last and (last.source_offset + last.source_size == piece.source_offset or not reads(lane))
        if last and joins and lane.kind is not LaneKind.BSDIFF:
            size, read = last.size + piece.size, last.source_size + piece.source_size
            segments[-1] = lane, replace(last, size=size, source_size=read)
        else:
            segments.append((lane, piece))
    return segments


def _delta(
    lane: Lane, old: Bytes, new: Bytes, block_size: int, *, reversible: bool
) -> tuple[bytes, bool, Run | None]:
    """The lane's bytes, whether they can be undone, and the symbols of a lane of one field."""
    units = len(old) // lane.stride
    leaders: dict[int, Symbols] = {}
    coded, invertible, run = [], True, None
    single = len(lane.fields) == 1
    for number in coding_order(lane):
        field = lane.fields[number]
        before, after = (side if single else take_field([side], lane.stride, field) for side in (old, new))
        run = differences(field.element, before, after)
        beside = block_size - len(after)
        data = encode_field(field.element, before, run, units, leaders, reversible=reversible, beside=beside)
        invertible = invertible and data[0] not in (BY_EXPONENT, IN_QUADS)
        coded.append(data)
        if has_key(field.element):
            leaders[number] = run.dense()
    return b"".join(coded), invertible, run if single else None
