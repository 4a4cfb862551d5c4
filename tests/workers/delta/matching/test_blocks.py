"""Blocks are limited in size, have no gaps, and never split a unit."""

from hypothesis import given
from hypothesis import strategies as st

from sdk_contract.patch.container import DEFAULT_LIMITS
from workers.delta.dtype_lanes import BSDIFF, LITERAL, lane_for_dtype
from workers.delta.matching.alignment import MAX_BSDIFF_WINDOW, Piece
from workers.delta.matching.blocks import split_into_blocks

LANES = st.sampled_from(
    [lane_for_dtype("i8"), lane_for_dtype("ggml:q6_k"), lane_for_dtype("f32"), LITERAL, BSDIFF]
)
LIMIT = 4096


@given(st.lists(st.tuples(LANES, st.integers(1, 300)), min_size=1, max_size=30))
def test_blocks_are_limited_in_size_and_cover_every_byte_in_order(parts):
    pieces, at = [], 0
    for lane, units in parts:
        size = min(units * lane.stride, LIMIT) if lane == BSDIFF else units * lane.stride
        pieces.append(Piece(lane, at, size, at, 0 if lane == LITERAL else size))
        at += size
    target = 0
    for block in split_into_blocks(pieces, LIMIT):
        assert 0 < sum(piece.size for piece in block) <= LIMIT
        for piece in block:
            assert piece.target_offset == target
            assert piece.size % piece.lane.stride == 0
            assert piece.lane == LITERAL or piece.source_offset == target
            target += piece.size
    assert target == at


def test_small_tensors_share_a_block():
    pieces = [Piece(lane_for_dtype("i8"), 100 * number, 100, 100 * number, 100) for number in range(30)]
    assert len(list(split_into_blocks(pieces, LIMIT))) == 1


def test_the_source_bytes_of_a_block_are_limited():
    pieces = [Piece(BSDIFF, 10 * number, 10, number, MAX_BSDIFF_WINDOW) for number in range(20)]
    blocks = list(split_into_blocks(pieces))
    assert sum(map(len, blocks)) == 20
    assert all(
        sum(piece.source_size for piece in block) <= DEFAULT_LIMITS.max_source_bytes for block in blocks
    )
