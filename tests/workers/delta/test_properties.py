"""Properties that hold for the patch between any two files."""

import io
import json
import struct

import bsdiff4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_contract.patch import Applier, PatchError
from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.bsdiff40_export import export_bsdiff40
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch

WIDTHS = {
    "I8": 1,
    "U8": 1,
    "BF16": 2,
    "F16": 2,
    "I16": 2,
    "F32": 4,
    "I32": 4,
    "I64": 8,
    "F64": 8,
    "BOOL": 1,
    "F8_E4M3": 1,
}
Tensors = dict[str, tuple[str, np.ndarray]]


def saved(tensors: Tensors, metadata: str = "") -> bytes:
    """Return a safetensors file; arrays are rows of bytes."""
    header, blobs, at = {}, [], 0
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        shape = [array.shape[0], array.shape[1] // WIDTHS[dtype]]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    if metadata:
        header["__metadata__"] = {"note": metadata}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def build(old: bytes, new: bytes, *, reversible: bool = False) -> bytes | None:
    out = io.BytesIO()
    answer = build_patch(MemoryFile(old), MemoryFile(new), out, threads=1, reversible=reversible)
    if isinstance(answer, NotWorthIt):
        return None
    assert isinstance(answer, BuiltPatch)
    return out.getvalue()


def apply(old: bytes, patch: bytes) -> bytes:
    target = MemoryFile()
    applier = Applier(MemoryFile(old), target)
    applier.feed(patch)
    applier.finish()
    return bytes(target.data)


def weights(rng: np.random.Generator, dtype: str, rows: int, columns: int) -> np.ndarray:
    count = rows * columns
    if dtype == "BF16":
        made = (rng.normal(0, 0.05, count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    elif dtype in ("F16", "F32", "F64"):
        made = rng.normal(0, 0.05, count).astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])
    else:
        made = rng.normal(0, 20, count).astype(f"<i{WIDTHS[dtype]}")
    return made.view(np.uint8).reshape(rows, columns * WIDTHS[dtype])


def rows_edited(rng: np.random.Generator, edit: str, array: np.ndarray) -> np.ndarray:
    rows, width = array.shape
    if edit == "train":
        return (array + (rng.random(array.shape) < 0.1)).astype(np.uint8)
    if edit == "insert rows":
        at = int(rng.integers(rows + 1))
        fresh = rng.integers(0, 256, (int(rng.integers(1, 9)), width)).astype(np.uint8)
        return np.concatenate([array[:at], fresh, array[at:]])
    if edit == "remove rows":
        return np.delete(array, np.s_[rows // 3 : rows // 2], axis=0)
    if edit == "reshape" and rows % 2 == 0:
        return array.reshape(rows // 2, width * 2)
    return array[:0] if edit == "empty" else array


def edited(rng: np.random.Generator, tensors: Tensors, edits: list[str]) -> Tensors:
    """Return the tensors after some edits, each of a random tensor."""
    new = dict(tensors)
    for edit in edits:
        name = list(new)[int(rng.integers(len(new)))]
        dtype, array = new[name]
        if edit == "drop" and len(new) > 1:
            del new[name]
        elif edit == "add":
            new[f"fresh{len(new)}"] = "I8", weights(rng, "I8", 5, 40)
        elif edit == "rename":
            new = {f"renamed.{key}" if key == name else key: value for key, value in new.items()}
        elif edit == "reorder":
            new = dict(reversed(new.items()))
        else:
            new[name] = "U8" if edit == "change dtype" else dtype, rows_edited(rng, edit, array)
    return new


EDITS = [
    "train",
    "drop",
    "add",
    "rename",
    "reorder",
    "insert rows",
    "remove rows",
    "empty",
    "reshape",
    "change dtype",
]
SHAPES = st.tuples(
    st.sampled_from(sorted(WIDTHS)), st.sampled_from([0, 1, 2, 30, 200]), st.sampled_from([1, 24, 64])
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(SHAPES, min_size=1, max_size=6),
    st.lists(st.sampled_from(EDITS), max_size=8),
    st.integers(0, 2**32),
    st.sampled_from(["", "x", "y" * 300]),
    st.booleans(),
)
def test_any_edited_tensors_are_restored_from_the_originals(shapes, edits, seed, metadata, reversible):
    rng = np.random.default_rng(seed)
    tensors = {f"t{i}": (dtype, weights(rng, dtype, *shape)) for i, (dtype, *shape) in enumerate(shapes)}
    old, new = saved(tensors), saved(edited(rng, tensors, edits), metadata)
    patch = build(old, new, reversible=reversible)
    assert patch is None or apply(old, patch) == new
    out = io.BytesIO()
    export_bsdiff40(MemoryFile(old), MemoryFile(new), out)
    assert bsdiff4.patch(old, out.getvalue()) == new


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_bytes_are_restored_from_any_bytes(old, new):
    patch = build(old, new)
    assert patch is not None
    assert apply(old, patch) == new


@pytest.fixture(scope="module")
def plain() -> Tensors:
    rng = np.random.default_rng(2)
    names = ["emb.weight", "layer.0.weight", "layer.1.weight", "norm"]
    shapes = [(600, 128), (256, 256), (256, 256), (1, 256)]
    return {name: ("I8", weights(rng, "I8", *shape)) for name, shape in zip(names, shapes, strict=True)}


@pytest.mark.parametrize(
    "edit", ["rename all", "reorder", "header grows", "insert rows", "append rows", "remove rows", "drop"]
)
def test_moved_data_costs_almost_nothing(plain, edit):
    rng = np.random.default_rng(4)
    new, metadata = dict(plain), ""
    dtype, table = plain["emb.weight"]
    fresh = rng.integers(0, 256, (4, 128)).astype(np.uint8)
    if edit == "rename all":
        new = {f"model.{name}": value for name, value in plain.items()}
    elif edit == "reorder":
        new = dict(reversed(plain.items()))
    elif edit == "header grows":
        metadata = "z" * 4000
    elif edit == "insert rows":
        new["emb.weight"] = dtype, np.concatenate([table[:100], fresh, table[100:]])
    elif edit == "append rows":
        new["emb.weight"] = dtype, np.concatenate([table, fresh])
    elif edit == "remove rows":
        new["emb.weight"] = dtype, np.delete(table, np.s_[200:240], axis=0)
    else:
        del new["layer.0.weight"]
    old_file, new_file = saved(plain), saved(new, metadata)
    patch = build(old_file, new_file)
    assert patch is not None
    assert apply(old_file, patch) == new_file
    assert len(patch) < 3000


def test_a_tokenizer_with_twenty_changed_lines_costs_at_most_a_kilobyte_more_than_bsdiff():
    rng = np.random.default_rng(6)
    lines = [f'  "token{number:05d}": {int(rng.integers(1 << 30))},' for number in range(12_000)]
    old = "\n".join(lines).encode()
    for number in rng.integers(0, len(lines), 20):
        lines[number] = f'  "changed{number}": {number},'
    new = "\n".join(lines).encode()
    patch = build(old, new)
    assert patch is not None
    assert apply(old, patch) == new
    assert len(patch) <= len(bsdiff4.diff(old, new)) + 1024


def test_packed_nibbles_in_a_u8_tensor_are_detected():
    rng = np.random.default_rng(8)
    codes = rng.normal(8, 2, (500, 1000)).clip(0, 15).astype(np.uint8)
    moved = (codes + (rng.random(codes.shape) < 0.3)).clip(0, 15).astype(np.uint8)
    files = [saved({"w": ("U8", each[:, ::2] | (each[:, 1::2] << 4))}) for each in (codes, moved)]
    patch = build(*files)
    assert patch is not None
    assert apply(files[0], patch) == files[1]
    share = np.mean(codes != moved)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * codes.size / 8
    assert len(patch) < 1.05 * entropy


def test_corrupted_patches_give_an_error_or_the_right_file(plain):
    rng = np.random.default_rng(10)
    new = {
        name: (dtype, (array + (rng.random(array.shape) < 0.05)).astype(np.uint8))
        for name, (dtype, array) in plain.items()
    }
    old_file, new_file = saved(plain), saved(new)
    patch = build(old_file, new_file)
    assert patch is not None
    for _ in range(1500):
        data = bytearray(patch)
        at = int(rng.integers(300)) if rng.random() < 0.7 else int(rng.integers(len(data)))
        if rng.random() < 0.8:
            data[at] ^= 1 << int(rng.integers(8))
        else:
            del data[at : at + int(rng.integers(1, 40))]
        try:
            made = apply(old_file, bytes(data))
        except PatchError:
            continue
        assert made == new_file
