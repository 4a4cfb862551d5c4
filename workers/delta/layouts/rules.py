"""The rules that every format shares: bounds on what a file may claim, and tensors that lie side by side."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import prod

from workers.delta.layouts.layout import MalformedFile, Tensor

MAX_TENSORS = 1_000_000
MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 64
MAX_METADATA = 32
MAX_METADATA_CHARACTERS = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

BITS = {
    "bool": 8,
    "u8": 8,
    "i8": 8,
    "u16": 16,
    "i16": 16,
    "u32": 32,
    "i32": 32,
    "u64": 64,
    "i64": 64,
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "f64": 64,
    "f8_e4m3": 8,
    "f8_e5m2": 8,
    "f8_e8m0": 8,
    "f8_e4m3fnuz": 8,
    "f8_e5m2fnuz": 8,
    "f4": 4,
    "f6_e2m3": 6,
    "f6_e3m2": 6,
    "i2": 2,
    "u2": 2,
    "i4": 4,
    "u4": 4,
    "c64": 64,
    "c128": 128,
}
"""Canonical element kinds and their width in bits."""


def packed_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that elements of `dtype` need when narrow ones are packed and the last byte is padded."""
    return (prod(shape) * BITS[dtype] + 7) // 8


def tensor_name(format_name: str, raw: bytes) -> str:
    """A tensor's name as text, refused when it could not be shown, stored or compared safely.

    Raises:
        MalformedFile: `bad_name`, longer than 1 KiB, not UTF-8, or with control characters.
    """
    if len(raw) > MAX_NAME_BYTES:
        raise MalformedFile(
            format_name, "bad_name", f"a tensor's name has {len(raw)} bytes, at most 1024 are"
        )
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedFile(format_name, "bad_name", f"tensor name {raw[:40]!r} is not UTF-8") from error
    if CONTROL.search(name):
        raise MalformedFile(format_name, "bad_name", f"tensor name {name[:40]!r} has control characters")
    return name


def side_by_side(format_name: str, tensors: Iterable[Tensor], limit: int) -> tuple[Tensor, ...]:
    """The tensors in ascending order of place.

    Args:
        format_name: for the error.
        tensors: in any order; empty ones may lie anywhere inside the limit.
        limit: end of the bytes in which tensors may lie.

    Raises:
        MalformedFile: `truncated` behind the limit, `duplicate_name`, or `tensors_overlap`.
    """
    ordered = sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size))
    seen: set[str] = set()
    for tensor in ordered:
        if tensor.offset > limit or tensor.size > limit - tensor.offset:
            raise MalformedFile(
                format_name,
                "truncated",
                f"tensor {tensor.name!r} is {tensor.size} bytes from {tensor.offset}, behind the end at {limit}",
            )
        if tensor.name in seen:
            raise MalformedFile(format_name, "duplicate_name", f"two tensors are named {tensor.name!r}")
        seen.add(tensor.name)
    for before, after in pairwise([tensor for tensor in ordered if tensor.size]):
        if before.size > after.offset - before.offset:
            raise MalformedFile(
                format_name,
                "tensors_overlap",
                f"tensor {after.name!r} starts at {after.offset}, inside {before.name!r}",
            )
    return tuple(ordered)


def shown(metadata: Mapping[str, object]) -> dict[str, str]:
    """What a person may be shown of a file's own words: few, short and printable."""
    return {
        printable(key): printable(str(value))
        for key, value in list(metadata.items())[:MAX_METADATA]
        if value != ""
    }


def printable(text: str) -> str:
    """The first 200 characters, with everything that could steer a terminal replaced."""
    cut = text[:MAX_METADATA_CHARACTERS]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
