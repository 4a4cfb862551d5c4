"""Estimate sizes from a sample of the blocks, so that a hopeless pair is refused in seconds."""

import numpy as np

from workers.delta.encoding.block import encode_block
from workers.delta.encoding.encoded import BlockResult
from workers.delta.encoding.run_coding import encode_blob
from workers.delta.layouts.layout import RangeReader
from workers.delta.matching.alignment import Piece

# One block in 32, but at least 2 and at most 24: a few percent of the work.
BLOCKS_PER_SAMPLE = 32
MIN_SAMPLES, MAX_SAMPLES = 2, 24
SLICES_COMPARED = 16
FULL_FILE_LEVEL = 3
# Compression is slower than our encoding, so the size of the full file is estimated from less data.
COMPRESSED_SAMPLE_BYTES, MIN_SLICE_BYTES = 1 << 20, 64 << 10
Blocks = list[tuple[Piece, ...]]


def sample_block_numbers(blocks: Blocks) -> list[int]:
    """Return the numbers of an evenly spaced sample of the blocks."""
    wanted = min(len(blocks), MAX_SAMPLES, max(MIN_SAMPLES, len(blocks) // BLOCKS_PER_SAMPLE))
    return [(2 * number + 1) * len(blocks) // (2 * wanted) for number in range(wanted)]


def estimate_patch_size(
    blocks: Blocks, source: RangeReader, target: RangeReader, *, reversible: bool
) -> tuple[int, dict[int, BlockResult]]:
    """Estimate the bytes of all payloads from a sample; also return the results of the sampled blocks by number.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    sampled_bytes, results = 0, {}
    for number in sample_block_numbers(blocks):
        block = encode_block(blocks[number], source, target, reversible=reversible)
        sampled_bytes += len(block.target)
        results[number] = BlockResult.from_block(block)
    payload_bytes = sum(len(result.payload) for result in results.values())
    return payload_bytes * target.size // max(sampled_bytes, 1), results


def changed_share(pieces: list[Piece], source: RangeReader, target: RangeReader) -> float:
    """Estimate the share of changed bytes, from evenly spaced slices of the pieces with a source of equal length.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    sourced = [piece for piece in pieces if piece.source_size == piece.size]
    total = sum(piece.size for piece in sourced)
    compared = changed = position = 0
    for piece in sourced:
        # One slice wherever the running total passes another sixteenth of the whole.
        slices_before = position * SLICES_COMPARED // max(total, 1)
        slices_after = (position + piece.size) * SLICES_COMPARED // max(total, 1)
        if slices_before != slices_after or not compared:
            size = min(piece.size, MIN_SLICE_BYTES)
            old, new = source.read(piece.source_offset, size), target.read(piece.target_offset, size)
            changed += int(np.count_nonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)))
            compared += size
        position += piece.size
    return changed / compared if compared else 1.0


def estimate_full_size(blocks: Blocks, target: RangeReader) -> int:
    """Estimate the bytes of the compressed target, which a device downloads without a patch.

    Raises:
        EOFError, OSError: the file cannot be read.
    """
    sampled_bytes = compressed_bytes = 0
    sampled = [blocks[number] for number in sample_block_numbers(blocks)]
    slice_bytes = max(COMPRESSED_SAMPLE_BYTES // max(len(sampled), 1), MIN_SLICE_BYTES)
    for pieces in sampled:
        data = target.read(pieces[0].target_offset, min(slice_bytes, sum(piece.size for piece in pieces)))
        sampled_bytes += len(data)
        compressed_bytes += min(len(encode_blob(data)), len(encode_blob(data, level=FULL_FILE_LEVEL)))
    return compressed_bytes * target.size // max(sampled_bytes, 1)
