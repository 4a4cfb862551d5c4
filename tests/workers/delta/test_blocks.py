"""Blocks: bounded, gap-free, and never through the middle of a unit."""

from hypothesis import given
from hypothesis import strategies as st

from sdk_contract.patch.container import DEFAULT_LIMITS
from workers.delta.align import WINDOW, Piece
from workers.delta.blocks import cut_blocks
from workers.delta.lanes import BSDIFF, LITERAL, delta_lane

LANES = st.sampled_from([delta_lane("i8"), delta_lane("ggml:q6_k"), delta_lane("f32"), LITERAL, BSDIFF])
LIMIT = 4096


@given(st.lists(st.tuples(LANES, st.integers(1, 300)), min_size=1, max_size=30))
def test_blocks_are_bounded_and_keep_every_byte_in_order(parts):
    pieces, at = [], 0
    for lane, units in parts:
        size = min(units * lane.stride, LIMIT) if lane == BSDIFF else units * lane.stride
        pieces.append(Piece(lane, at, size, at, 0 if lane == LITERAL else size))
        at += size
    target = 0
    for block in cut_blocks(pieces, LIMIT):
        assert 0 < sum(piece.size for piece in block) <= LIMIT
        for piece in block:
            assert piece.target_offset == target
            assert piece.size % piece.lane.stride == 0
            assert piece.lane == LITERAL or piece.source_offset == target
            target += piece.size
    assert target == at


def test_small_tensors_share_a_block():
    pieces = [Piece(delta_lane("i8"), 100 * number, 100, 100 * number, 100) for number in range(30)]
    assert len(list(cut_blocks(pieces, LIMIT))) == 1


def test_a_block_reads_no_more_than_a_reader_allows_however_wide_the_windows_are():
    pieces = [Piece(BSDIFF, 10 * number, 10, number, WINDOW) for number in range(20)]
    blocks = list(cut_blocks(pieces))
    assert sum(map(len, blocks)) == 20
    assert all(sum(piece.source_size for piece in block) <= DEFAULT_LIMITS.source_bytes for block in blocks)
