"""Encode one block: from source and target bytes to a payload."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdk_contract.patch.container import DIGEST_SIZE, EMPTY_DIGEST
from sdk_contract.patch.payload.block_plan import Lane, LaneKind, coding_order
from sdk_contract.patch.payload.elements import Bytes, differences, has_exponent
from sdk_contract.patch.payload.field_groups import BY_EXPONENT, BY_EXPONENT_IN_QUADS
from sdk_contract.patch.payload.runs import Run, Symbols
from sdk_contract.patch.payload.strided_fields import gather_field
from workers.delta.dtype_lanes import (
    BYTES,
    COPY,
    FLOAT32,
    INTEGERS32,
    LITERAL,
    NIBBLES,
    WIDENED_BFLOAT16,
    ZERO,
)
from workers.delta.encoding.bsdiff import encode_bsdiff
from workers.delta.encoding.encoded import EncodedBlock, EncodedPiece, lane_reads_source
from workers.delta.encoding.grouping import encode_field
from workers.delta.encoding.run_coding import encode_blob, encode_signed_varint, encode_varint
from workers.delta.layouts.layout import RangeReader
from workers.delta.matching.alignment import Piece

LITERAL_LEVEL = 6
NIBBLE_SAMPLE_BYTES = 1 << 15
# NumPy compares whole arrays, but most changed tensors differ in their first bytes.
QUICK_COMPARE_BYTES = 1 << 12
MAX_READ_GAP = 64 << 10


def encode_block(
    pieces: tuple[Piece, ...], source: RangeReader, target: RangeReader, *, reversible: bool = False
) -> EncodedBlock:
    """Read the ranges of the pieces and encode them.

    Args:
        pieces: consecutive target ranges.
        source: the old file.
        target: the new file.
        reversible: group differences only in ways that can be undone from the new values alone.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    begin, size = pieces[0].target_offset, sum(piece.size for piece in pieces)
    data = target.read(begin, size)
    new = np.frombuffer(data, np.uint8)
    parts = []
    for piece, old in zip(pieces, read_sources(pieces, source), strict=True):
        at = piece.target_offset - begin
        parts.append(_load_piece(piece, old, new[at : at + piece.size], reversible=reversible))
    payload, shares, invertible = _encode_payload(parts, reversible=reversible)
    encoded = tuple(
        EncodedPiece(part.piece, part.lane, part.values, changed, cost)
        for part, (changed, cost) in zip(parts, shares, strict=True)
    )
    source_bytes = concatenate([part.old for part in parts])
    payload_digest = truncated_sha256(payload) if payload else EMPTY_DIGEST
    # Only reversible patches need it. The whole source is hashed anyway, and this costs a tenth of the build time.
    source_digest = truncated_sha256(source_bytes) if reversible else EMPTY_DIGEST
    return EncodedBlock(encoded, data, source_bytes, payload, invertible, source_digest, payload_digest)


def read_sources(pieces: Sequence[Piece], source: RangeReader) -> list[Bytes]:
    """Return the source bytes of each piece, by one read if they lie close together: a read can be an HTTP request.

    Raises:
        EOFError, OSError: the file cannot be read.
    """
    begin = min((piece.source_offset for piece in pieces if piece.source_size), default=0)
    end = max((piece.source_offset + piece.source_size for piece in pieces if piece.source_size), default=0)
    if end - begin > 2 * sum(piece.source_size for piece in pieces) + MAX_READ_GAP:
        reads = [source.read(piece.source_offset, piece.source_size) for piece in pieces]
        return [np.frombuffer(data, np.uint8) for data in reads]
    span = np.frombuffer(source.read(begin, end - begin), np.uint8)
    offsets = [piece.source_offset - begin if piece.source_size else 0 for piece in pieces]
    return [span[offset : offset + piece.source_size] for offset, piece in zip(offsets, pieces, strict=True)]


def concatenate(parts: Sequence[Bytes]) -> memoryview:
    """Concatenate the parts, without a copy if only one is not empty."""
    nonempty = [part for part in parts if len(part)]
    return _join(nonempty).data if nonempty else memoryview(b"")


def truncated_sha256(data: bytes | memoryview) -> bytes:
    """Return the first 16 bytes of the SHA-256."""
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]


@dataclass(frozen=True, slots=True)
class _PieceData:
    """A piece with its bytes and the chosen lane."""

    piece: Piece
    lane: Lane
    old: Bytes
    new: Bytes

    @property
    def values(self) -> int:
        """Number of values, or of bytes if a unit has several fields."""
        return len(self.new) // (self.lane.stride if len(self.lane.fields) == 1 else 1)


def _load_piece(piece: Piece, old: Bytes, new: Bytes, *, reversible: bool) -> _PieceData:
    lane = _choose_lane(piece, old, new)
    if reversible and lane.kind is LaneKind.BSDIFF and len(old) == len(new):
        lane = BYTES
    return _PieceData(piece, lane, old if lane_reads_source(lane) else old[:0], new)


def _choose_lane(piece: Piece, old: Bytes, new: Bytes) -> Lane:
    if _are_equal(old, new):
        return COPY
    if not new[:QUICK_COMPARE_BYTES].any() and not new.any():
        return ZERO
    if not piece.source_size:
        return LITERAL
    if piece.lane == FLOAT32 and _is_widened_bfloat16(old) and _is_widened_bfloat16(new):
        return WIDENED_BFLOAT16
    if piece.lane in (BYTES, INTEGERS32) and _looks_like_nibbles(old, new):
        return NIBBLES
    return piece.lane


def _are_equal(old: Bytes, new: Bytes) -> bool:
    quick = slice(QUICK_COMPARE_BYTES)
    return len(old) == len(new) and np.array_equal(old[quick], new[quick]) and np.array_equal(old, new)


def _is_widened_bfloat16(data: Bytes) -> bool:
    return not (data.view("<u4") & 0xFFFF).any()


def _looks_like_nibbles(old: Bytes, new: Bytes) -> bool:
    """Whether each byte holds two values: then high halves change alone about as often as low halves do."""
    changed_bits = old[:NIBBLE_SAMPLE_BYTES] ^ new[:NIBBLE_SAMPLE_BYTES]
    high = np.count_nonzero((changed_bits & 0x0F == 0) & (changed_bits != 0))
    low = np.count_nonzero((changed_bits & 0xF0 == 0) & (changed_bits != 0))
    return bool(2 * high > low)


def _encode_payload(
    parts: list[_PieceData], *, reversible: bool
) -> tuple[bytes, list[tuple[int, int]], bool]:
    """Return the payload; the changed values and the cost of each part; and whether the payload can be undone."""
    lanes = sorted({part.lane for part in parts}, key=lambda lane: (lane.kind, lane.stride, lane.fields))
    shares = [(0, 0)] * len(parts)
    if lanes == [ZERO] or (lanes == [COPY] and _is_one_source_range(parts)):
        return b"", shares, True
    sections, invertible = [_encode_plan(parts, lanes)], True
    size = sum(len(part.new) for part in parts)
    for lane in lanes:
        members = [number for number, part in enumerate(parts) if part.lane == lane]
        encoded = _encode_lane(lane, [parts[number] for number in members], size, reversible=reversible)
        sections.append(encoded.data)
        invertible = invertible and encoded.invertible
        total = max(1, sum(encoded.changed))
        for number, changed in zip(members, encoded.changed, strict=True):
            shares[number] = changed, len(encoded.data) * changed // total
    return b"".join(sections), shares, invertible


def _is_one_source_range(parts: list[_PieceData]) -> bool:
    """Whether the source of each part begins where the previous one ends."""
    ends = [part.piece.source_offset + part.piece.source_size for part in parts]
    return all(part.piece.source_offset == end for part, end in zip(parts[1:], ends, strict=False))


@dataclass(frozen=True, slots=True)
class _EncodedLane:
    """The bytes of a lane, the changed values of each of its parts, and whether the lane can be undone."""

    data: bytes
    changed: list[int]
    invertible: bool


def _encode_lane(lane: Lane, parts: list[_PieceData], block_size: int, *, reversible: bool) -> _EncodedLane:
    sizes = [len(part.new) for part in parts]
    if lane.kind is LaneKind.LITERAL:
        literal = b"".join(part.new.data for part in parts)
        data = min(encode_blob(literal), encode_blob(literal, level=LITERAL_LEVEL), key=len)
        return _EncodedLane(data, sizes, invertible=True)
    if lane.kind is LaneKind.BSDIFF:
        data = b"".join(encode_bsdiff(part.old.tobytes(), part.new.tobytes()) for part in parts)
        return _EncodedLane(data, sizes, invertible=False)
    if lane.kind is LaneKind.DELTA:
        old, new = (_join([part.old for part in parts]), _join([part.new for part in parts]))
        data, invertible, run = _encode_delta(lane, old, new, block_size, reversible=reversible)
        return _EncodedLane(data, _count_changed(parts, run), invertible)
    return _EncodedLane(b"", [0] * len(parts), invertible=True)


def _count_changed(parts: list[_PieceData], run: Run | None) -> list[int]:
    """Count the changed values of each part: from the symbols if there is one per value, else from the bytes."""
    if run is None or run.count != sum(part.values for part in parts):
        return [int(np.count_nonzero(part.old != part.new)) for part in parts]
    ends = np.cumsum([part.values for part in parts])
    if run.indices is not None:
        return [int(count) for count in np.diff(np.searchsorted(run.indices, ends), prepend=0)]
    begins = [0, *ends[:-1]]
    return [int(np.count_nonzero(run.values[b:e])) for b, e in zip(begins, ends, strict=True)]


def _join(parts: list[Bytes]) -> Bytes:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _encode_plan(parts: list[_PieceData], lanes: list[Lane]) -> bytes:
    """Encode the lanes and segments of the block, as `sdk_contract.patch` reads them."""
    plan = [encode_varint(len(lanes))]
    for lane in lanes:
        plan.append(bytes((lane.kind,)))
        if lane.kind is LaneKind.DELTA:
            plan.append(encode_varint(lane.stride) + encode_varint(len(lane.fields)))
            plan.extend(encode_varint(field.length) + bytes((field.element,)) for field in lane.fields)
    segments = _merge_segments(parts)
    plan.append(encode_varint(len(segments)))
    position = min((piece.source_offset for lane, piece in segments if lane_reads_source(lane)), default=0)
    for lane, piece in segments:
        plan.append(encode_varint(lanes.index(lane)) + encode_varint(piece.size))
        if lane_reads_source(lane):
            plan.append(encode_signed_varint(piece.source_offset - position))
            position = piece.source_offset + piece.source_size
        if lane.kind is LaneKind.BSDIFF:
            plan.append(encode_varint(piece.source_size))
    return b"".join(plan)


def _merge_segments(parts: list[_PieceData]) -> list[tuple[Lane, Piece]]:
    """Return the parts as segments; parts of one lane that are adjacent in both files become one segment."""
    segments: list[tuple[Lane, Piece]] = []
    for part in parts:
        lane, piece = part.lane, part.piece
        last = segments[-1][1] if segments and segments[-1][0] == lane else None
        if last and lane.kind is not LaneKind.BSDIFF and _is_adjacent(last, piece, lane):
            size, source_size = last.size + piece.size, last.source_size + piece.source_size
            segments[-1] = lane, replace(last, size=size, source_size=source_size)
        else:
            segments.append((lane, piece))
    return segments


def _is_adjacent(last: Piece, piece: Piece, lane: Lane) -> bool:
    return not lane_reads_source(lane) or last.source_offset + last.source_size == piece.source_offset


def _encode_delta(
    lane: Lane, old: Bytes, new: Bytes, block_size: int, *, reversible: bool
) -> tuple[bytes, bool, Run | None]:
    """Return the bytes of the lane, whether they can be undone, and the symbols if the lane has only one field."""
    units = len(old) // lane.stride
    leaders: dict[int, Symbols] = {}
    encoded_fields, invertible, run = [], True, None
    single = len(lane.fields) == 1
    for number in coding_order(lane):
        field = lane.fields[number]
        old_field, new_field = (
            data if single else gather_field([data], lane.stride, field) for data in (old, new)
        )
        run = differences(field.element, old_field, new_field)
        encoded = encode_field(
            field.element,
            old_field,
            run,
            units,
            leaders,
            reversible=reversible,
            other_bytes=block_size - len(new_field),
        )
        invertible = invertible and encoded[0] not in (BY_EXPONENT, BY_EXPONENT_IN_QUADS)
        encoded_fields.append(encoded)
        if has_exponent(field.element):
            leaders[number] = run.dense()
    return b"".join(encoded_fields), invertible, run if single else None
