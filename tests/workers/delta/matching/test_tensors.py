"""Tensors are matched by name, by content and by order."""

import numpy as np

from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.layouts.layout import Layout, Tensor
from workers.delta.matching.tensors import match_tensors


def file(**tensors: bytes) -> tuple[MemoryFile, Layout]:
    found, at = [], 0
    for name, data in tensors.items():
        found.append(Tensor(name, "i8", (len(data),), at, len(data)))
        at += len(data)
    return MemoryFile(b"".join(tensors.values())), Layout("safetensors", at, tuple(found))


def matches(old: tuple[MemoryFile, Layout], new: tuple[MemoryFile, Layout]) -> dict[str, str]:
    found = match_tensors(old[0], old[1], new[0], new[1])
    return {name: tensor.name for name, tensor in found.items()}


A, B, C = (np.random.default_rng(seed).bytes(100) for seed in range(3))


def test_names_take_precedence_over_content():
    assert matches(file(a=A, b=B), file(a=B, b=A)) == {"a": "a", "b": "b"}


def test_a_renamed_tensor_is_matched_by_content():
    assert matches(file(a=A, b=B, c=C), file(x=C, b=B, y=A)) == {"b": "b", "x": "c", "y": "a"}


def test_renamed_and_trained_tensors_are_matched_by_order_if_their_counts_agree():
    changed = [bytes(reversed(data)) for data in (A, B)]
    assert matches(file(a=A, b=B), file(x=changed[0], y=changed[1])) == {"x": "a", "y": "b"}
    assert matches(file(a=A, b=B), file(x=changed[0])) == {}


def test_tensors_of_another_size_or_dtype_do_not_match():
    assert matches(file(a=A), file(x=A[:50])) == {}


def test_several_copies_of_a_renamed_tensor_all_match():
    assert matches(file(a=A, b=A), file(x=A, y=A, z=A)) == {"x": "a", "y": "b", "z": "b"}
