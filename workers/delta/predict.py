"""Looking at a few blocks first: a hopeless pair is refused in seconds, not after it was computed."""

from workers.delta.align import Piece
from workers.delta.encode import encode_block
from workers.delta.layouts.layout import RangeReader
from workers.delta.runs import blob

# One block in 32, but at least 2 and at most 24: some percent of the work at most.
RARE = 32
FEWEST, MOST = 2, 24
FULL_LEVEL = 3
Blocks = list[tuple[Piece, ...]]


def sample(blocks: Blocks) -> Blocks:
    """An even sample of the blocks."""
    wanted = min(len(blocks), MOST, max(FEWEST, len(blocks) // RARE))
    return [blocks[(2 * number + 1) * len(blocks) // (2 * wanted)] for number in range(wanted)]


def predict_patch_size(blocks: Blocks, source: RangeReader, target: RangeReader, *, reversible: bool) -> int:
    """Bytes of all payloads, from a sample of the blocks.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    seen = coded = 0
    for pieces in sample(blocks):
        block = encode_block(pieces, source, target, reversible=reversible)
        seen += len(block.target)
        coded += len(block.payload)
    return coded * target.size // max(seen, 1)


def predict_full_size(blocks: Blocks, target: RangeReader) -> int:
    """Bytes of the compressed target, from a sample of the blocks: what a device downloads without a patch.

    Raises:
        EOFError, OSError: the file cannot be read.
    """
    seen = coded = 0
    for pieces in sample(blocks):
        data = target.read(pieces[0].target_offset, sum(piece.size for piece in pieces))
        seen += len(data)
        coded += min(len(blob(data)), len(blob(data, level=FULL_LEVEL)))
    return coded * target.size // max(seen, 1)
