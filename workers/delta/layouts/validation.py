"""Checks that all formats share: limits, names, sizes, and tensors that do not overlap."""

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
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")

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
"""Canonical dtype -> bits per element."""


def packed_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor whose narrow elements are packed and whose last byte is padded."""
    return (prod(shape) * BITS[dtype] + 7) // 8


def decode_tensor_name(format_name: str, raw: bytes) -> str:
    """Decode the name of a tensor.

    Raises:
        MalformedFile: `bad_name`, if the name is longer than 1 KiB, not UTF-8, or has control characters.
    """
    if len(raw) > MAX_NAME_BYTES:
        raise MalformedFile(
            format_name, "bad_name", f"a tensor name has {len(raw)} bytes, the limit is {MAX_NAME_BYTES}"
        )
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedFile(format_name, "bad_name", f"tensor name {raw[:40]!r} is not UTF-8") from error
    if CONTROL_CHARACTERS.search(name):
        raise MalformedFile(format_name, "bad_name", f"tensor name {name[:40]!r} has control characters")
    return name


def sorted_without_overlap(format_name: str, tensors: Iterable[Tensor], limit: int) -> tuple[Tensor, ...]:
    """Return the tensors in ascending order of offset.

    Args:
        format_name: for the error.
        tensors: in any order; empty ones may lie anywhere before the limit.
        limit: end of the bytes that tensors may occupy.

    Raises:
        MalformedFile: `truncated` for a tensor after the limit, `duplicate_name`, or `tensors_overlap`.
    """
    ordered = sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size))
    seen: set[str] = set()
    for tensor in ordered:
        if tensor.offset > limit or tensor.size > limit - tensor.offset:
            raise MalformedFile(
                format_name,
                "truncated",
                f"tensor {tensor.name!r} has {tensor.size} bytes at {tensor.offset}, after the end at {limit}",
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


def display_metadata(metadata: Mapping[str, object]) -> dict[str, str]:
    """Reduce the metadata of a file to a few short, printable strings."""
    return {
        printable(key): printable(str(value))
        for key, value in list(metadata.items())[:MAX_METADATA]
        if value != ""
    }


def printable(text: str) -> str:
    """Return the first 200 characters, with unprintable ones (terminal escapes) replaced."""
    shortened = text[:MAX_METADATA_CHARACTERS]
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shortened
    )
