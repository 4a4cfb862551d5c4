"""Untrusted coded blocks: a patch error or bytes of the correct length, never a crash."""

import tracemalloc

import numpy as np
import pytest
import zstandard

from sdk_contract.patch import PatchCorrupt, PatchError
from sdk_contract.patch.container import BlockOp, BlockRecord
from sdk_contract.patch.payload.block import make_source, make_target, read_block_plan
from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.dtype_lanes import BSDIFF, LITERAL, lane_for_dtype
from workers.delta.encoding.block import encode_block
from workers.delta.matching.alignment import Piece

UNITS = 64
LANES = {
    "int8": lane_for_dtype("i8"),
    "bf16": lane_for_dtype("bf16"),
    "trained bf16": lane_for_dtype("bf16"),
    "trained float32": lane_for_dtype("f32"),
    "float32": lane_for_dtype("f32"),
    "nibbles and scales": lane_for_dtype("ggml:q4_0"),
    "six bit": lane_for_dtype("ggml:q6_k"),
    "bsdiff": BSDIFF,
    "literal": LITERAL,
}


def stored(values: np.ndarray, width: int) -> np.ndarray:
    """Values as float32 bytes, or as bfloat16 bytes."""
    words = values.astype("<f4").view("<u4")
    return (words if width == 4 else (words >> 16).astype("<u2")).view(np.uint8)


def coded(name: str) -> tuple[bytes, BlockRecord, MemoryFile, bytes]:
    """Encode a block; returns the payload, its record, the source and the target."""
    lane = LANES[name]
    rng = np.random.default_rng(len(name))
    least = 20_000 if "trained" in name else 12_000
    size = max(lane.stride * UNITS, least // lane.stride * lane.stride)
    old = rng.normal(0, 30, size).astype(np.int8).view(np.uint8)
    new = np.where(rng.random(size) < 0.1, old + 1, old).astype(np.uint8)
    if "trained" in name:
        weights = rng.normal(0, 0.05, size // lane.stride)
        moved = weights + rng.normal(0, 2e-4, len(weights))
        old, new = (stored(values, lane.stride) for values in (weights, moved))
    source, target = MemoryFile(old.tobytes()), MemoryFile(new.tobytes())
    piece = Piece(lane, 0, size, 0, 0 if lane == LITERAL else size)
    block = encode_block((piece,), source, target)
    span = 0 if lane == LITERAL else size
    empty = bytes(16)
    record = BlockRecord(BlockOp.CODED, False, size, len(block.payload), 0, span, span, empty, empty, empty)
    return block.payload, record, source, new.tobytes()


@pytest.mark.parametrize("name", LANES)
def test_a_block_is_decoded(name):
    payload, record, source, target = coded(name)
    made = make_target(payload, record, source.read, zstandard.ZstdDecompressor())
    assert made.tobytes() == target
    assert sum(segment.size for segment in read_block_plan(payload, record).segments) == record.target_size


@pytest.mark.parametrize("grouping", [b"\0", b"\1\1\5", b"\2\0\1\5", b"\3\1\5"])
def test_a_lane_without_segments_is_rejected(grouping):
    # A zero lane with all bytes, and a delta lane (float16 and int8) without any segment.
    lanes = bytes((2, 1, 3, 3, 2, 2, 4, 1, 1))
    payload = lanes + bytes((1, 0, 10)) + b"\0" + grouping
    record = BlockRecord(BlockOp.CODED, False, 10, len(payload), 0, 0, 0, *[bytes(16)] * 3)
    decompressor = zstandard.ZstdDecompressor()
    with pytest.raises(PatchCorrupt, match="patch_corrupt: a lane has no segment"):
        make_target(payload, record, MemoryFile(b"").read, decompressor)
    with pytest.raises(PatchCorrupt, match="patch_corrupt: a lane has no segment"):
        make_source(payload, record, np.zeros(10, np.uint8), decompressor)


def mutated(rng: np.random.Generator, payload: bytes) -> bytes:
    """Change, delete or duplicate some bytes of a payload."""
    data = bytearray(payload)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data))) if rng.random() < 0.4 else int(rng.integers(min(len(data), 48)))
        choice = rng.integers(5)
        if choice == 0:
            data[at] = int(rng.integers(256))
        elif choice == 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif choice == 2:
            del data[at : at + int(rng.integers(1, 9))]
        elif choice == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 9))]
        else:
            data[at] = (0, 1, 127, 128, 255)[int(rng.integers(5))]
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("name", LANES)
def test_mutated_payloads_end_with_a_patch_error_or_a_complete_block(name):
    payload, record, source, _ = coded(name)
    rng = np.random.default_rng(11)
    decompressor = zstandard.ZstdDecompressor()
    refused = 0
    for _ in range(15_000):
        try:
            made = make_target(mutated(rng, payload), record, source.read, decompressor)
        except PatchError:
            refused += 1
        else:
            assert len(made) == record.target_size
    assert refused > 1000


@pytest.mark.parametrize("name", ["int8", "nibbles and scales", "literal"])
def test_mutated_payloads_end_with_a_patch_error_in_reverse_too(name):
    payload, record, _, target = coded(name)
    rng = np.random.default_rng(12)
    made, decompressor = np.frombuffer(target, np.uint8), zstandard.ZstdDecompressor()
    for _ in range(1000):
        try:
            pieces = make_source(mutated(rng, payload), record, made, decompressor)
        except PatchError:
            continue
        assert sum(len(piece) for _, piece in pieces) == record.source_size


def test_mutated_payloads_use_a_bounded_amount_of_memory():
    rng = np.random.default_rng(13)
    for name in LANES:
        payload, record, source, _ = coded(name)
        decompressor = zstandard.ZstdDecompressor()
        tracemalloc.start()
        for _ in range(300):
            try:
                make_target(mutated(rng, payload), record, source.read, decompressor)
            except PatchError:
                continue
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * record.target_size + (1 << 20)
