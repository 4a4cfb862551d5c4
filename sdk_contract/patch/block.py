"""Making one coded block from its payload, forwards or backwards."""

from collections.abc import Callable, Iterator

import numpy as np
import zstandard

from sdk_contract.patch.bsdiff import read_bsdiff
from sdk_contract.patch.codecs import Symbols
from sdk_contract.patch.container import Record
from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import NotReversible, PatchCorrupt
from sdk_contract.patch.groups import FieldContext, read_field, symbol_count
from sdk_contract.patch.plan import BlockPlan, Lane, LaneKind, Segment, coding_order, read_plan
from sdk_contract.patch.transforms import Bytes, has_key, restore
from sdk_contract.patch.units import put_field, take_field

ReadSource = Callable[[int, int], bytes]


def read_block_plan(payload: bytes | memoryview, record: Record) -> BlockPlan:
    """Lanes and segments of a payload, without making anything; for inspection."""
    cursor = Cursor(payload, zstandard.ZstdDecompressor())
    return read_plan(cursor, record.target_size, record.source_offset, record.source_size)


def make_target(
    payload: bytes | memoryview,
    record: Record,
    read_source: ReadSource,
    decompressor: zstandard.ZstdDecompressor,
) -> Bytes:
    """The target bytes of a coded block.

    Args:
        payload: already checked against `record.payload_digest`.
        record: the block.
        read_source: exactly that many bytes from that offset of the source.
        decompressor: reused from block to block; not shared between threads.

    Raises:
        PatchError: the payload breaks a rule, or the source cannot be read.
    """
    cursor = Cursor(payload, decompressor)
    plan = read_plan(cursor, record.target_size, record.source_offset, record.source_size)
    _check_hull(plan, record)
    target = np.empty(record.target_size, np.uint8)
    for number, lane in enumerate(plan.lanes):
        places = list(_places(plan, number))
        if lane.kind is LaneKind.DELTA:
            target = _make_delta(cursor, lane, places, read_source, target)
        elif lane.kind is LaneKind.COPY:
            for segment, at in places:
                source = read_source(segment.source_offset, segment.source_size)
                target[at : at + segment.size] = _bytes(source)
        elif lane.kind is LaneKind.ZERO:
            for segment, at in places:
                target[at : at + segment.size] = 0
        elif lane.kind is LaneKind.LITERAL:
            target = _scatter(target, places, _bytes(cursor.blob(sum(segment.size for segment, _ in places))))
        else:
            for segment, at in places:
                window = _bytes(read_source(segment.source_offset, segment.source_size))
                read_bsdiff(cursor, decompressor, window, target[at : at + segment.size])
    if cursor.left:
        raise PatchCorrupt("bytes behind the last lane")
    return target


def _make_delta(
    cursor: Cursor, lane: Lane, places: list[tuple[Segment, int]], read_source: ReadSource, target: Bytes
) -> Bytes:
    """The target with the bytes of a delta lane in it."""
    old = [_bytes(read_source(segment.source_offset, segment.source_size)) for segment, _ in places]
    if len(lane.fields) == 1:
        return _scatter(target, places, _undo_values(cursor, lane, _gather(old), forward=True))
    _undo_units(cursor, lane, old, [target[at : at + segment.size] for segment, at in places], forward=True)
    return target


def make_source(
    payload: bytes | memoryview, record: Record, target: Bytes, decompressor: zstandard.ZstdDecompressor
) -> list[tuple[int, Bytes]]:
    """The source ranges that a reversible block was made from, as offset and bytes, in segment order.

    Raises:
        NotReversible: a lane that loses its source.
        PatchCorrupt: a rule is broken.
    """
    cursor = Cursor(payload, decompressor)
    plan = read_plan(cursor, record.target_size, record.source_offset, record.source_size)
    _check_hull(plan, record)
    pieces: dict[int, tuple[int, Bytes]] = {}
    for number, lane in enumerate(plan.lanes):
        places = list(_places(plan, number))
        if lane.kind is LaneKind.BSDIFF:
            raise NotReversible("a block made by bsdiff")
        if lane.kind is LaneKind.LITERAL:
            cursor.blob(sum(segment.size for segment, _ in places))
        if lane.kind not in (LaneKind.COPY, LaneKind.DELTA):
            continue
        new = [target[at : at + segment.size] for segment, at in places]
        if lane.kind is LaneKind.COPY:
            old = _gather(new)
        elif len(lane.fields) == 1:
            old = _undo_values(cursor, lane, _gather(new), forward=False)
        else:
            old = np.empty(sum(len(part) for part in new), np.uint8)
            _undo_units(cursor, lane, new, [old], forward=False)
        begin = 0
        for segment, at in places:
            pieces[at] = (segment.source_offset, old[begin : begin + segment.size])
            begin += segment.size
    return [pieces[at] for at in sorted(pieces)]


def _undo_values(cursor: Cursor, lane: Lane, base: Bytes, *, forward: bool) -> Bytes:
    """A delta lane of one field: from the old values to the new ones, or back."""
    element = lane.fields[0].element
    count = symbol_count(element, len(base))
    units = len(base) // lane.stride
    run = read_field(cursor, FieldContext(element, count, units, base if forward else None, {}))
    return restore(element, base, run, forward=forward)


def _undo_units(cursor: Cursor, lane: Lane, base: list[Bytes], made: list[Bytes], *, forward: bool) -> None:
    """Every field of a delta lane, from where its old units lie to where the new ones belong, or back."""
    units = sum(len(part) for part in base) // lane.stride
    leaders: dict[int, Symbols] = {}
    for number in coding_order(lane):
        field = lane.fields[number]
        values = take_field(base, lane.stride, field)
        count = symbol_count(field.element, len(values))
        context = FieldContext(field.element, count, units, values if forward else None, leaders)
        run = read_field(cursor, context)
        if has_key(field.element):
            leaders[number] = run.dense()
        put_field(made, lane.stride, field, restore(field.element, values, run, forward=forward))


def _places(plan: BlockPlan, lane: int) -> Iterator[tuple[Segment, int]]:
    at = 0
    for segment in plan.segments:
        if segment.lane == lane:
            yield segment, at
        at += segment.size


def _check_hull(plan: BlockPlan, record: Record) -> None:
    # In-place appliers decide from the index alone what a block reads, so a payload may not read more.
    for segment in plan.segments:
        begin = segment.source_offset - record.source_offset
        if segment.source_size and (begin < 0 or segment.source_size > record.source_span - begin):
            raise PatchCorrupt("a segment reads outside its block's source range")


def _bytes(data: bytes | memoryview) -> Bytes:
    return np.frombuffer(data, np.uint8)


def _gather(parts: list[Bytes]) -> Bytes:
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint8)])


def _scatter(target: Bytes, places: list[tuple[Segment, int]], made: Bytes) -> Bytes:
    """The target with a lane's bytes in it; they themselves where the lane is the whole block."""
    if len(made) == len(target):
        return made
    begin = 0
    for segment, at in places:
        target[at : at + segment.size] = made[begin : begin + segment.size]
        begin += segment.size
    return target
