"""The first part of a coded block's payload: lanes and segments (see `README.md`, "Coded blocks")."""

from dataclasses import dataclass
from enum import IntEnum

from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.elements import Element, has_exponent, width

MAX_LANES = 64
MAX_FIELDS = 16
MAX_SEGMENTS = 4096
MAX_STRIDE = 1024


class LaneKind(IntEnum):
    """How the segments of a lane are coded."""

    COPY = 0
    ZERO = 1
    LITERAL = 2
    DELTA = 3
    BSDIFF = 4


@dataclass(frozen=True, slots=True, order=True)
class Field:
    """A part of every unit: `length` bytes at `offset`, with values of one element type."""

    offset: int
    length: int
    element: Element


@dataclass(frozen=True, slots=True)
class Lane:
    """Segments that are coded together.

    Attributes:
        kind: how they are coded.
        stride: bytes of one unit (a number, or a block of a quantized format); delta lanes only.
        fields: the parts of a unit, in order and without gaps; delta lanes only.
    """

    kind: LaneKind
    stride: int = 1
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Contiguous target bytes, which one lane produces from contiguous source bytes."""

    lane: int
    size: int
    source_offset: int = 0
    source_size: int = 0


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The lanes and segments of one block; the segments are in target order."""

    lanes: tuple[Lane, ...]
    segments: tuple[Segment, ...]


def read_plan(cursor: Cursor, target_size: int, source_offset: int, source_size: int) -> BlockPlan:
    """Parse the lanes and segments of a payload.

    Args:
        cursor: at the first byte of the payload.
        target_size: required sum of the segments' sizes.
        source_offset: base of the first segment's source offset.
        source_size: required sum of the segments' source sizes.

    Raises:
        PatchCorrupt: the payload violates a rule.
        PatchUnsupported: a lane kind or an element is unknown.
    """
    count = cursor.varint()
    if not 0 < count <= MAX_LANES:
        raise PatchCorrupt(f"{count} lanes")
    lanes = tuple(_read_lane(cursor) for _ in range(count))
    count = cursor.varint()
    if not 0 < count <= MAX_SEGMENTS:
        raise PatchCorrupt(f"{count} segments")
    segments, at = [], source_offset
    for _ in range(count):
        segment = _read_segment(cursor, lanes, at)
        at = segment.source_offset + segment.source_size if segment.source_size else at
        segments.append(segment)
    if sum(s.size for s in segments) != target_size or sum(s.source_size for s in segments) != source_size:
        raise PatchCorrupt("the segments do not add up to the block's sizes")
    if {segment.lane for segment in segments} != set(range(len(lanes))):
        raise PatchCorrupt("a lane has no segment")
    return BlockPlan(lanes, tuple(segments))


def coding_order(lane: Lane) -> list[int]:
    """Field numbers in the order of their data in the payload: fields with an exponent (scales) first."""
    return sorted(range(len(lane.fields)), key=lambda number: not has_exponent(lane.fields[number].element))


def _read_lane(cursor: Cursor) -> Lane:
    kind = cursor.byte()
    if kind not in LaneKind.__members__.values():
        raise PatchUnsupported(f"lane kind {kind}")
    if kind != LaneKind.DELTA:
        return Lane(LaneKind(kind))
    stride, count = cursor.varint(), cursor.varint()
    if not 0 < stride <= MAX_STRIDE or not 0 < count <= MAX_FIELDS:
        raise PatchCorrupt(f"units of {stride} bytes with {count} fields")
    fields, at = [], 0
    for _ in range(count):
        fields.append(_read_field(cursor, at))
        at += fields[-1].length
    if at != stride:
        raise PatchCorrupt("the fields do not add up to the stride")
    return Lane(LaneKind.DELTA, stride, tuple(fields))


def _read_field(cursor: Cursor, offset: int) -> Field:
    length, element = cursor.varint(), cursor.byte()
    if element not in Element.__members__.values():
        raise PatchUnsupported(f"element {element}")
    kind = Element(element)
    if not 0 < length <= MAX_STRIDE or length % width(kind):
        raise PatchCorrupt(f"a field of {length} bytes of {kind.name}")
    return Field(offset, length, kind)


def _read_segment(cursor: Cursor, lanes: tuple[Lane, ...], at: int) -> Segment:
    number, size = cursor.varint(), cursor.varint()
    if number >= len(lanes) or size == 0:
        raise PatchCorrupt("a segment has no valid lane or no length")
    lane = lanes[number]
    if size % lane.stride:
        raise PatchCorrupt("a segment's size is not a multiple of its stride")
    if lane.kind in (LaneKind.ZERO, LaneKind.LITERAL):
        return Segment(number, size)
    offset = at + cursor.signed_varint()
    length = cursor.varint() if lane.kind is LaneKind.BSDIFF else size
    if offset < 0:
        raise PatchCorrupt("a segment's source range starts before the file")
    return Segment(number, size, offset, length)
