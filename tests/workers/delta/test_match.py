"""Tensors find their past: by name, by content, by order."""

import numpy as np

from tests.sdk_contract.patch.memory import Memory
from workers.delta.layouts.layout import Layout, Tensor
from workers.delta.match import match_tensors


def file(**tensors: bytes) -> tuple[Memory, Layout]:
    found, at = [], 0
    for name, data in tensors.items():
        found.append(Tensor(name, "i8", (len(data),), at, len(data)))
        at += len(data)
    return Memory(b"".join(tensors.values())), Layout("safetensors", at, tuple(found))


def matches(old: tuple[Memory, Layout], new: tuple[Memory, Layout]) -> dict[str, str]:
    found = match_tensors(old[0], old[1], new[0], new[1])
    return {name: tensor.name for name, tensor in found.items()}


A, B, C = (np.random.default_rng(seed).bytes(100) for seed in range(3))


def test_a_name_outranks_content():
    assert matches(file(a=A, b=B), file(a=B, b=A)) == {"a": "a", "b": "b"}


def test_a_renamed_tensor_is_found_by_its_content():
    assert matches(file(a=A, b=B, c=C), file(x=C, b=B, y=A)) == {"b": "b", "x": "c", "y": "a"}


def test_renamed_and_trained_tensors_are_matched_by_order_where_the_numbers_agree():
    changed = [bytes(reversed(data)) for data in (A, B)]
    assert matches(file(a=A, b=B), file(x=changed[0], y=changed[1])) == {"x": "a", "y": "b"}
    assert matches(file(a=A, b=B), file(x=changed[0])) == {}


def test_tensors_of_another_size_or_dtype_are_strangers():
    assert matches(file(a=A), file(x=A[:50])) == {}


def test_several_copies_of_one_renamed_tensor_all_have_a_past():
    assert matches(file(a=A, b=A), file(x=A, y=A, z=A)) == {"x": "a", "y": "b", "z": "b"}
