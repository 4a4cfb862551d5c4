"""Alignment of files without tensors: unchanged bytes are copied, and moved bytes are found."""

import io

import numpy as np
import pytest

from sdk_contract.patch import Applier
from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.layouts.layout import Layout
from workers.delta.matching import alignment
from workers.delta.matching.alignment import Alignment


def patched(old: bytes, new: bytes) -> tuple[BuiltPatch, bytes]:
    out = io.BytesIO()
    built = build_patch(MemoryFile(old), MemoryFile(new), out)
    assert isinstance(built, BuiltPatch)
    target = MemoryFile()
    applier = Applier(MemoryFile(old), target)
    applier.feed(out.getvalue())
    applier.finish()
    assert bytes(target.data) == new
    return built, out.getvalue()


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8).tobytes()


def test_bytes_before_and_after_a_change_are_copied():
    old = noise(3_000_000, 1)
    new = old[:1_000_000] + b"changed" + old[1_000_020:]
    built, patch = patched(old, new)
    assert built.ops["copy"] > 2_900_000
    assert len(patch) < 1500


def test_a_large_opaque_file_is_compared_from_its_start():
    old = bytearray(noise(alignment.MAX_BSDIFF_BYTES + 3_000_000, 2))
    new = bytearray(old)
    for at in range(5, len(new), 50_000):
        new[at] ^= 1
    built, patch = patched(bytes(old), bytes(new))
    assert "bsdiff" not in built.ops
    assert len(patch) < 20_000


def test_a_large_opaque_file_that_grew_at_its_start_is_compared_from_its_end():
    old = noise(alignment.MAX_BSDIFF_BYTES + 3_000_000, 3)
    new = bytearray(b"longer header" + old)
    for at in range(5, len(new), 50_000):
        new[at] ^= 1
    _, patch = patched(old, bytes(new))
    assert len(patch) < 20_000


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5000), (5000, 0), (300, 300), (70_000, 200_000)])
def test_pieces_cover_the_target_without_gaps(old, new):
    files = MemoryFile(noise(old, 4)), MemoryFile(noise(new, 5))
    alignment = Alignment(files[0], Layout("opaque", old, ()), files[1], Layout("opaque", new, ()))
    at = 0
    for piece in alignment.pieces():
        assert piece.target_offset == at
        assert piece.source_offset + piece.source_size <= old
        at += piece.size
    assert at == new
