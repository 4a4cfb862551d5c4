"""Files without tensors: what stayed costs nothing, and what moved is found."""

import io

import numpy as np
import pytest

from sdk_contract.patch import Applier
from tests.sdk_contract.patch.memory import Memory
from workers.delta import align
from workers.delta.align import Alignment
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.layouts.layout import Layout
from workers.delta.ranges import LocalFile


def patched(old: bytes, new: bytes) -> tuple[BuiltPatch, bytes]:
    out = io.BytesIO()
    built = build_patch(Memory(old), Memory(new), out)
    assert isinstance(built, BuiltPatch)
    target = Memory()
    applier = Applier(Memory(old), target)
    applier.feed(out.getvalue())
    applier.finish()
    assert bytes(target.data) == new
    return built, out.getvalue()


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8).tobytes()


def test_a_change_in_the_middle_leaves_front_and_back_to_copies():
    old = noise(3_000_000, 1)
    new = old[:1_000_000] + b"changed" + old[1_000_020:]
    built, patch = patched(old, new)
    assert built.ops["copy"] > 2_900_000
    assert len(patch) < 1500


def test_a_large_file_of_no_known_format_is_compared_in_place_from_its_start():
    old = bytearray(noise(align.MAX_SORTED + 3_000_000, 2))
    new = bytearray(old)
    for at in range(5, len(new), 50_000):
        new[at] ^= 1
    built, patch = patched(bytes(old), bytes(new))
    assert "bsdiff" not in built.ops
    assert len(patch) < 20_000


def test_a_large_file_that_grew_at_its_start_is_compared_from_its_end():
    old = noise(align.MAX_SORTED + 3_000_000, 3)
    new = bytearray(b"longer header" + old)
    for at in range(5, len(new), 50_000):
        new[at] ^= 1
    _, patch = patched(old, bytes(new))
    assert len(patch) < 20_000


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5000), (5000, 0), (300, 300), (70_000, 200_000)])
def test_pieces_fill_the_target_without_gaps(old, new):
    files = Memory(noise(old, 4)), Memory(noise(new, 5))
    alignment = Alignment(files[0], Layout("opaque", old, ()), files[1], Layout("opaque", new, ()))
    at = 0
    for piece in alignment.pieces():
        assert piece.target_offset == at
        assert piece.source_offset + piece.source_size <= old
        at += piece.size
    assert at == new


def test_a_local_file_is_read_by_range_and_never_short(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with LocalFile(tmp_path / "f") as file:
        assert file.size == 10
        assert file.read(3, 4) == b"3456"
        with pytest.raises(EOFError):
            file.read(8, 3)
