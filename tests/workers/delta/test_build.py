"""Patches are built, and applied to check them."""

import io
import json
import struct
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from sdk_contract.patch import (
    Applier,
    BaseMismatch,
    IndexMismatch,
    NotReversible,
    TargetMismatch,
    apply_patch,
    parse_index,
    reverse_patch,
)
from sdk_contract.patch.reverse import read_index
from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch

Tensors: TypeAlias = dict[str, tuple[str, np.ndarray]]


def safetensors(tensors: Tensors) -> bytes:
    header, blobs, at = {}, [], 0
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    rng = np.random.default_rng(5)
    codes = rng.integers(-127, 128, (3000, 400)).astype(np.int8)
    weights = rng.normal(0, 0.05, (700, 500)).astype(np.float32)
    halves = (weights.view(np.uint32) >> 16).astype(np.uint16)
    trained = weights + rng.normal(0, 2e-4, weights.shape).astype(np.float32)
    norm = rng.normal(1, 0.1, 500).astype(np.float32)
    old: Tensors = {"codes": ("I8", codes), "halves": ("BF16", halves), "norm": ("F32", norm)}
    new: Tensors = {
        "codes": ("I8", (codes + (rng.random(codes.shape) < 0.2)).astype(np.int8)),
        "halves": ("BF16", (trained.view(np.uint32) >> 16).astype(np.uint16)),
        "norm": ("F32", norm + np.float32(1e-4)),
    }
    return safetensors(old), safetensors(new)


def build(old: bytes, new: bytes, *, threads: int = 2, reversible: bool = False) -> tuple[BuiltPatch, bytes]:
    out = io.BytesIO()
    built = build_patch(MemoryFile(old), MemoryFile(new), out, threads=threads, reversible=reversible)
    assert isinstance(built, BuiltPatch)
    assert built.patch_size == len(out.getvalue())
    return built, out.getvalue()


def apply(old: bytes, patch: bytes, *, index_sha256: bytes | None = None) -> bytes:
    target = MemoryFile()
    applier = Applier(MemoryFile(old), target, index_sha256=index_sha256)
    applier.feed(patch)
    applier.finish()
    return bytes(target.data)


def test_a_patch_makes_the_new_file_from_the_old_one(pair):
    built, patch = build(*pair)
    assert apply(pair[0], patch, index_sha256=built.index_sha256) == pair[1]
    assert len(patch) < 0.3 * len(pair[1])


def test_the_same_pair_gives_the_same_bytes_for_any_number_of_threads(pair):
    assert build(*pair, threads=1)[1] == build(*pair, threads=3)[1]


def test_identical_files_cost_less_than_a_kilobyte(pair):
    _, patch = build(pair[1], pair[1])
    assert len(patch) < 1024
    assert apply(pair[1], patch) == pair[1]


@pytest.mark.parametrize(
    ("old", "new"), [(b"", b""), (b"", b"x"), (b"x", b""), (b"x", b"y"), (b"ab", b"abc")]
)
def test_files_of_zero_or_one_byte_work(old, new):
    _, patch = build(old, new)
    assert apply(old, patch) == new


def test_a_patch_is_applied_in_chunks_and_each_block_is_written_when_complete(pair):
    _, patch = build(*pair)
    target = MemoryFile()
    applier = Applier(MemoryFile(pair[0]), target)
    done = [applier.feed(patch[at : at + 1000]) for at in range(0, len(patch), 1000)]
    applier.finish()
    assert bytes(target.data) == pair[1]
    assert done == sorted(done)
    assert len(set(done)) > 1


def test_applying_resumes_at_any_block(pair):
    _, patch = build(*pair)
    index = parse_index(patch)
    for block in range(len(index.records) + 1):
        target = MemoryFile(pair[1][: index.target_offset(block)])
        applier = Applier(MemoryFile(pair[0]), target, index=index, start_block=block)
        assert applier.next_offset == index.payload_offset(block)
        applier.feed(patch[applier.next_offset :])
        applier.finish()
        assert bytes(target.data) == pair[1]


def test_resuming_on_a_corrupt_target_is_refused(pair):
    _, patch = build(*pair)
    index = parse_index(patch)
    front = bytearray(pair[1][: index.target_offset(1)])
    front[77] ^= 1
    with pytest.raises(
        TargetMismatch, match="target_mismatch: the part of the target from before the resume is"
    ):
        Applier(MemoryFile(pair[0]), MemoryFile(bytes(front)), index=index, start_block=1)


def test_a_wrong_source_is_refused_as_base_mismatch(pair):
    _, patch = build(*pair)
    other = bytearray(pair[0])
    other[len(other) // 2] ^= 0xFF
    with pytest.raises(BaseMismatch, match="base_mismatch: block 0 has the wrong digest"):
        apply(bytes(other), patch)


def test_an_index_with_another_digest_is_refused(pair):
    _, patch = build(*pair)
    with pytest.raises(IndexMismatch, match="index_mismatch"):
        apply(pair[0], patch, index_sha256=bytes(32))


def test_the_target_file_appears_only_after_verification(pair, tmp_path: Path):
    _, patch = build(*pair)
    (tmp_path / "old").write_bytes(pair[0])
    (tmp_path / "patch").write_bytes(patch)
    applied = apply_patch(tmp_path / "old", tmp_path / "patch", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == pair[1]
    assert applied.bytes_written == len(pair[1])
    (tmp_path / "old").write_bytes(bytes(len(pair[0])))
    with pytest.raises(BaseMismatch, match="base_mismatch: block 0 has the wrong digest"):
        apply_patch(tmp_path / "old", tmp_path / "patch", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "patch"]


def test_a_reversible_patch_takes_the_new_file_back_to_the_old_one(pair, tmp_path: Path):
    built, patch = build(*pair, reversible=True)
    assert built.reversible
    assert apply(pair[0], patch) == pair[1]
    (tmp_path / "new").write_bytes(pair[1])
    (tmp_path / "patch").write_bytes(patch)
    reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "old", index_sha256=built.index_sha256)
    assert (tmp_path / "old").read_bytes() == pair[0]


def test_a_patch_that_groups_by_the_old_value_is_not_reversible(pair, tmp_path: Path):
    built, patch = build(*pair)
    assert not built.reversible
    (tmp_path / "new").write_bytes(pair[1])
    (tmp_path / "patch").write_bytes(patch)
    with pytest.raises(NotReversible, match="not_reversible: the patch was not built as reversible"):
        reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_only_reversible_patches_have_source_digests(pair):
    for reversible in (True, False):
        _, patch = build(*pair, reversible=reversible)
        records = read_index(io.BytesIO(patch)).records
        reading = [record for record in records if record.source_size]
        assert reading
        assert all((record.source_digest != bytes(16)) is reversible for record in reading)


def test_a_patch_that_drops_source_bytes_is_not_reversible():
    old = safetensors({"a": ("I8", np.zeros(5000, np.int8)), "b": ("I8", np.ones(5000, np.int8))})
    new = safetensors({"a": ("I8", np.ones(5000, np.int8))})
    assert not build(old, new, reversible=True)[0].reversible


def test_unrelated_weights_are_not_worth_it():
    rng = np.random.default_rng(9)
    old, new = (
        safetensors({"w": ("I8", rng.integers(-128, 128, 1 << 20).astype(np.int8))}) for _ in range(2)
    )
    out = io.BytesIO()
    answer = build_patch(MemoryFile(old), MemoryFile(new), out)
    assert isinstance(answer, NotWorthIt)
    assert answer.patch_size > 0.8 * answer.full_size
    assert not out.getvalue()
