"""Looking at a few blocks first: a hopeless pair is refused in seconds, not after it was computed."""

import numpy as np

from workers.delta.align import Piece
from workers.delta.coded import Coded
from workers.delta.encode import encode_block
from workers.delta.layouts.layout import RangeReader
from workers.delta.runs import blob

# One block in 32, but at least 2 and at most 24: some percent of the work at most.
RARE = 32
FEWEST, MOST = 2, 24
LOOKS = 16
FULL_LEVEL = 3
# Compressing is slower than our own coding, so the full file is judged by less of it.
SLICES, SMALLEST_SLICE = 1 << 20, 64 << 10
Blocks = list[tuple[Piece, ...]]


def sample(blocks: Blocks) -> list[int]:
    """Numbers of an even sample of the blocks."""
    wanted = min(len(blocks), MOST, max(FEWEST, len(blocks) // RARE))
    return [(2 * number + 1) * len(blocks) // (2 * wanted) for number in range(wanted)]


def predict_patch_size(
    blocks: Blocks, source: RangeReader, target: RangeReader, *, reversible: bool
) -> tuple[int, dict[int, Coded]]:
    """Bytes of all payloads, from a sample of the blocks; and those blocks, which are done now.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    seen, done = 0, {}
    for number in sample(blocks):
        block = encode_block(blocks[number], source, target, reversible=reversible)
        seen += len(block.target)
        done[number] = Coded.of(block)
    coded = sum(len(each.payload) for each in done.values())
    return coded * target.size // max(seen, 1), done


def changed_share(pieces: list[Piece], source: RangeReader, target: RangeReader) -> float:
    """Share of bytes that differ in an even sample of the pieces that have a source of the same length.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    sourced = [piece for piece in pieces if piece.source_size == piece.size]
    total = sum(piece.size for piece in sourced)
    seen = changed = at = 0
    for piece in sourced:
        # A slice wherever the running total passes another sixteenth of the whole.
        if (at * LOOKS) // max(total, 1) != ((at + piece.size) * LOOKS) // max(total, 1) or not seen:
            size = min(piece.size, SMALLEST_SLICE)
            old, new = source.read(piece.source_offset, size), target.read(piece.target_offset, size)
            changed += int(np.count_nonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)))
            seen += size
        at += piece.size
    return changed / max(seen, 1) if seen else 1.0


def predict_full_size(blocks: Blocks, target: RangeReader) -> int:
    """Bytes of the compressed target, from a sample of the blocks: what a device downloads without a patch.

    Raises:
        EOFError, OSError: the file cannot be read.
    """
    seen = coded = 0
    chosen = [blocks[number] for number in sample(blocks)]
    most = max(SLICES // max(len(chosen), 1), SMALLEST_SLICE)
    for pieces in chosen:
        data = target.read(pieces[0].target_offset, min(most, sum(piece.size for piece in pieces)))
        seen += len(data)
        coded += min(len(blob(data)), len(blob(data, level=FULL_LEVEL)))
    return coded * target.size // max(seen, 1)
