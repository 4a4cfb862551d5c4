"""The front of a coded block's payload: its lanes and its segments (see `README.md`, "Coded blocks")."""

from dataclasses import dataclass
from enum import IntEnum

from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported
from sdk_contract.patch.transforms import Element, has_key, width

MAX_LANES = 64
MAX_FIELDS = 16
MAX_SEGMENTS = 4096
MAX_STRIDE = 1024


class LaneKind(IntEnum):
    """How the segments of a lane are made."""

    COPY = 0
    ZERO = 1
    LITERAL = 2
    DELTA = 3
    BSDIFF = 4


@dataclass(frozen=True, slots=True, order=True)
class Field:
    """A part of every unit: `length` bytes from `offset`, holding values of one kind."""

    offset: int
    length: int
    element: Element


@dataclass(frozen=True, slots=True)
class Lane:
    """Segments that are coded together.

    Attributes:
        kind: how they are made.
        stride: bytes of one unit (a number, or a block of a quantised format); delta lanes only.
        fields: what a unit consists of, in order, without gaps; delta lanes only.
    """

    kind: LaneKind
    stride: int = 1
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive target bytes, made by one lane from consecutive source bytes."""

    lane: int
    size: int
    source_offset: int = 0
    source_size: int = 0


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """Lanes and segments of one block; the segments are in target order."""

    lanes: tuple[Lane, ...]
    segments: tuple[Segment, ...]


def read_plan(cursor: Cursor, target_size: int, source_offset: int, source_size: int) -> BlockPlan:
    """Parse the front of a payload.

    Args:
        cursor: at the first byte of the payload.
        target_size: what the segments must add up to.
        source_offset: where the first segment's offset counts from.
        source_size: what the segments' source ranges must add up to.

    Raises:
        PatchCorrupt: a rule is broken.
        PatchUnsupported: an unknown lane or element.
    """
    count = cursor.varint()
    if not 0 < count <= MAX_LANES:
        raise PatchCorrupt(f"{count} lanes")
    lanes = tuple(_lane(cursor) for _ in range(count))
    count = cursor.varint()
    if not 0 < count <= MAX_SEGMENTS:
        raise PatchCorrupt(f"{count} segments")
    segments, at = [], source_offset
    for _ in range(count):
        segment = _segment(cursor, lanes, at)
        at = segment.source_offset + segment.source_size if segment.source_size else at
        segments.append(segment)
    if sum(s.size for s in segments) != target_size or sum(s.source_size for s in segments) != source_size:
        raise PatchCorrupt("the segments do not add up to their block")
    if {segment.lane for segment in segments} != set(range(len(lanes))):
        raise PatchCorrupt("a lane without a segment")
    return BlockPlan(lanes, tuple(segments))


def coding_order(lane: Lane) -> list[int]:
    """Numbers of the fields as their data stands in the payload: scales lead, codes follow."""
    return sorted(range(len(lane.fields)), key=lambda number: not has_key(lane.fields[number].element))


def _lane(cursor: Cursor) -> Lane:
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
        fields.append(_field(cursor, at))
        at += fields[-1].length
    if at != stride:
        raise PatchCorrupt("the fields do not fill their unit")
    return Lane(LaneKind.DELTA, stride, tuple(fields))


def _field(cursor: Cursor, offset: int) -> Field:
    length, element = cursor.varint(), cursor.byte()
    if element not in Element.__members__.values():
        raise PatchUnsupported(f"element {element}")
    kind = Element(element)
    if not 0 < length <= MAX_STRIDE or length % width(kind):
        raise PatchCorrupt(f"a field of {length} bytes of {kind.name}")
    return Field(offset, length, kind)


def _segment(cursor: Cursor, lanes: tuple[Lane, ...], at: int) -> Segment:
    number, size = cursor.varint(), cursor.varint()
    if number >= len(lanes) or size == 0:
        raise PatchCorrupt("a segment of no lane or no length")
    lane = lanes[number]
    if size % lane.stride:
        raise PatchCorrupt("a segment of broken units")
    if lane.kind in (LaneKind.ZERO, LaneKind.LITERAL):
        return Segment(number, size)
    offset = at + cursor.signed()
    length = cursor.varint() if lane.kind is LaneKind.BSDIFF else size
    if offset < 0:
        raise PatchCorrupt("a source range before the file")
    return Segment(number, size, offset, length)
