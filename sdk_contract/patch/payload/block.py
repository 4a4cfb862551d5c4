"""Decodes one coded block from its payload, forward to the target or back to the source."""

from collections.abc import Callable, Iterator

import numpy as np
import zstandard

from sdk_contract.patch.container import BlockRecord
from sdk_contract.patch.errors import NotReversible, PatchCorrupt
from sdk_contract.patch.payload.block_plan import BlockPlan, Lane, LaneKind, Segment, coding_order, read_plan
from sdk_contract.patch.payload.bsdiff import decode_bsdiff
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.elements import Bytes, has_exponent, restore
from sdk_contract.patch.payload.field_groups import FieldContext, read_field, symbol_count
from sdk_contract.patch.payload.runs import Symbols
from sdk_contract.patch.payload.strided_fields import gather_field, scatter_field

ReadSource = Callable[[int, int], bytes]


def read_block_plan(payload: bytes | memoryview, record: BlockRecord) -> BlockPlan:
    """Parse the lanes and segments of a payload without decoding its data, for inspection."""
    cursor = Cursor(payload, zstandard.ZstdDecompressor())
    return read_plan(cursor, record.target_size, record.source_offset, record.source_size)


def make_target(
    payload: bytes | memoryview,
    record: BlockRecord,
    read_source: ReadSource,
    decompressor: zstandard.ZstdDecompressor,
) -> Bytes:
    """Decode the target bytes of a coded block.

    Args:
        payload: checked against `record.payload_digest` already.
        record: the block's record.
        read_source: reads a number of bytes at an offset of the source.
        decompressor: reused between blocks; not shared between threads.

    Raises:
        PatchError: the payload violates a rule, or the source cannot be read.
    """
    cursor = Cursor(payload, decompressor)
    plan = read_plan(cursor, record.target_size, record.source_offset, record.source_size)
    _check_source_range(plan, record)
    target = np.empty(record.target_size, np.uint8)
    for number, lane in enumerate(plan.lanes):
        segments = list(_lane_segments(plan, number))
        if lane.kind is LaneKind.DELTA:
            target = _decode_delta_lane(cursor, lane, segments, read_source, target)
        elif lane.kind is LaneKind.COPY:
            for segment, offset in segments:
                source = read_source(segment.source_offset, segment.source_size)
                target[offset : offset + segment.size] = _bytes(source)
        elif lane.kind is LaneKind.ZERO:
            for segment, offset in segments:
                target[offset : offset + segment.size] = 0
        elif lane.kind is LaneKind.LITERAL:
            target = _scatter(
                target, segments, _bytes(cursor.blob(sum(segment.size for segment, _ in segments)))
            )
        else:
            for segment, offset in segments:
                window = _bytes(read_source(segment.source_offset, segment.source_size))
                decode_bsdiff(cursor, decompressor, window, target[offset : offset + segment.size])
    if cursor.remaining:
        raise PatchCorrupt("the payload has bytes after its last lane")
    return target


def _decode_delta_lane(
    cursor: Cursor, lane: Lane, segments: list[tuple[Segment, int]], read_source: ReadSource, target: Bytes
) -> Bytes:
    """Decode a delta lane, and return the target with the lane's bytes."""
    old = [_bytes(read_source(segment.source_offset, segment.source_size)) for segment, _ in segments]
    if len(lane.fields) == 1:
        return _scatter(target, segments, _decode_single_field(cursor, lane, _gather(old), forward=True))
    _decode_fields(
        cursor,
        lane,
        old,
        [target[offset : offset + segment.size] for segment, offset in segments],
        forward=True,
    )
    return target


def make_source(
    payload: bytes | memoryview, record: BlockRecord, target: Bytes, decompressor: zstandard.ZstdDecompressor
) -> list[tuple[int, Bytes]]:
    """Decode the source ranges of a reversible block.

    Returns:
        Offset and bytes of each range, in segment order.

    Raises:
        NotReversible: a lane cannot restore its source.
        PatchCorrupt: the payload violates a rule.
    """
    cursor = Cursor(payload, decompressor)
    plan = read_plan(cursor, record.target_size, record.source_offset, record.source_size)
    _check_source_range(plan, record)
    pieces: dict[int, tuple[int, Bytes]] = {}
    for number, lane in enumerate(plan.lanes):
        segments = list(_lane_segments(plan, number))
        if lane.kind is LaneKind.BSDIFF:
            raise NotReversible("the block has a bsdiff lane, which cannot be reversed")
        if lane.kind is LaneKind.LITERAL:
            cursor.blob(sum(segment.size for segment, _ in segments))
        if lane.kind not in (LaneKind.COPY, LaneKind.DELTA):
            continue
        new = [target[offset : offset + segment.size] for segment, offset in segments]
        if lane.kind is LaneKind.COPY:
            old = _gather(new)
        elif len(lane.fields) == 1:
            old = _decode_single_field(cursor, lane, _gather(new), forward=False)
        else:
            old = np.empty(sum(len(part) for part in new), np.uint8)
            _decode_fields(cursor, lane, new, [old], forward=False)
        begin = 0
        for segment, offset in segments:
            pieces[offset] = (segment.source_offset, old[begin : begin + segment.size])
            begin += segment.size
    return [pieces[offset] for offset in sorted(pieces)]


def _decode_single_field(cursor: Cursor, lane: Lane, base: Bytes, *, forward: bool) -> Bytes:
    """Decode a delta lane with one field, from old values to new ones, or back."""
    element = lane.fields[0].element
    count = symbol_count(element, len(base))
    units = len(base) // lane.stride
    run = read_field(cursor, FieldContext(element, count, units, base if forward else None, {}))
    return restore(element, base, run, forward=forward)


def _decode_fields(
    cursor: Cursor, lane: Lane, base: list[Bytes], decoded: list[Bytes], *, forward: bool
) -> None:
    """Decode every field of a delta lane from old units into new ones, or back."""
    units = sum(len(part) for part in base) // lane.stride
    leaders: dict[int, Symbols] = {}
    for number in coding_order(lane):
        field = lane.fields[number]
        values = gather_field(base, lane.stride, field)
        count = symbol_count(field.element, len(values))
        context = FieldContext(field.element, count, units, values if forward else None, leaders)
        run = read_field(cursor, context)
        if has_exponent(field.element):
            leaders[number] = run.dense()
        scatter_field(decoded, lane.stride, field, restore(field.element, values, run, forward=forward))


def _lane_segments(plan: BlockPlan, lane: int) -> Iterator[tuple[Segment, int]]:
    offset = 0
    for segment in plan.segments:
        if segment.lane == lane:
            yield segment, offset
        offset += segment.size


def _check_source_range(plan: BlockPlan, record: BlockRecord) -> None:
    # In-place appliers rely on the index for what a block reads, so a payload must not read more.
    for segment in plan.segments:
        begin = segment.source_offset - record.source_offset
        if segment.source_size and (begin < 0 or segment.source_size > record.source_span - begin):
            raise PatchCorrupt("a segment reads outside its block's source range")


def _bytes(data: bytes | memoryview) -> Bytes:
    return np.frombuffer(data, np.uint8)


def _gather(parts: list[Bytes]) -> Bytes:
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint8)])


def _scatter(target: Bytes, segments: list[tuple[Segment, int]], decoded: Bytes) -> Bytes:
    """Copy a lane's bytes into the target; a lane that is the complete block is returned itself, without a copy."""
    if len(decoded) == len(target):
        return decoded
    begin = 0
    for segment, offset in segments:
        target[offset : offset + segment.size] = decoded[begin : begin + segment.size]
        begin += segment.size
    return target
