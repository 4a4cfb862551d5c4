"""Split pieces into blocks, the units that a device verifies and resumes at."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sdk_contract.patch.payload.block_plan import MAX_SEGMENTS, LaneKind
from workers.delta.matching.alignment import MAX_BSDIFF_WINDOW, Piece

BLOCK_BYTES = 1 << 20
# Where little changed, the index record and code tables of the blocks are most of the patch, so blocks are larger.
SPARSE_BLOCK_BYTES = 2 << 20
# Half of the applier's limit (`Limits.source_bytes`).
MAX_SOURCE_BYTES = 8 << 20


def split_into_blocks(pieces: Iterable[Piece], size: int = BLOCK_BYTES) -> Iterator[tuple[Piece, ...]]:
    """Yield blocks of consecutive pieces, each of at most `size` target bytes. Units are never split.

    Small tensors share a block, large ones fill several: a piece that does not fit starts a new block only if little
    space is left. The source bytes of a block are bounded too, because bsdiff windows are larger than their output.
    """
    block: list[Piece] = []
    space, source_bytes = size, 0
    for piece in pieces:
        rest: Piece | None = piece
        while rest is not None:
            starts_new = rest.size > space and (space < size // 4 or rest.lane.kind is LaneKind.BSDIFF)
            too_much_source = source_bytes + min(rest.source_size, MAX_BSDIFF_WINDOW) > MAX_SOURCE_BYTES
            if block and (starts_new or too_much_source):
                yield tuple(block)
                block, space, source_bytes = [], size, 0
            head, rest = _split_piece(rest, space)
            block.append(head)
            space, source_bytes = space - head.size, source_bytes + head.source_size
            if space <= 0 or len(block) == MAX_SEGMENTS:
                yield tuple(block)
                block, space, source_bytes = [], size, 0
    if block:
        yield tuple(block)


def _split_piece(piece: Piece, space: int) -> tuple[Piece, Piece | None]:
    length = space - space % piece.lane.stride
    if piece.size <= space:
        return piece, None
    source_length = length if piece.source_size else 0
    head = replace(piece, size=length, source_size=source_length)
    rest = replace(
        piece,
        target_offset=piece.target_offset + length,
        size=piece.size - length,
        source_offset=piece.source_offset + source_length,
        source_size=piece.source_size - source_length,
    )
    return head, rest
