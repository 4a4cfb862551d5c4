"""Cutting pieces into blocks: the unit of checking and of resuming."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sdk_contract.patch.plan import MAX_SEGMENTS, LaneKind
from workers.delta.align import WINDOW, Piece

BLOCK = 1 << 20
# Where hardly anything changed, what a block costs in the index and in code tables is most of the patch.
SPARSE_BLOCK = 2 << 20
# Half of what a reader allows (`Limits.source_bytes`).
MOST_READ = 8 << 20


def cut_blocks(pieces: Iterable[Piece], size: int = BLOCK) -> Iterator[tuple[Piece, ...]]:
    """Consecutive pieces, at most `size` target bytes together; units are never cut.

    A piece that is larger than what is left of a block starts a new one only when little is left:
    small tensors share a block, large ones fill several. What a block reads is bounded too, because bsdiff's
    windows are wider than what they make.
    """
    block: list[Piece] = []
    room, reads = size, 0
    for piece in pieces:
        rest: Piece | None = piece
        while rest is not None:
            small = rest.size > room and (room < size // 4 or rest.lane.kind is LaneKind.BSDIFF)
            if block and (small or reads + min(rest.source_size, WINDOW) > MOST_READ):
                yield tuple(block)
                block, room, reads = [], size, 0
            head, rest = _cut(rest, room)
            block.append(head)
            room, reads = room - head.size, reads + head.source_size
            if room <= 0 or len(block) == MAX_SEGMENTS:
                yield tuple(block)
                block, room, reads = [], size, 0
    if block:
        yield tuple(block)


def _cut(piece: Piece, room: int) -> tuple[Piece, Piece | None]:
    length = room - room % piece.lane.stride
    if piece.size <= room:
        return piece, None
    sourced = length if piece.source_size else 0
    head = replace(piece, size=length, source_size=sourced)
    rest = replace(
        piece,
        target_offset=piece.target_offset + length,
        size=piece.size - length,
        source_offset=piece.source_offset + sourced,
        source_size=piece.source_size - sourced,
    )
    return head, rest
