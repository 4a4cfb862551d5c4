"""The tensor types of GGUF files: weights per block, and the fields of a block in order.

Source: the block structures of `ggml-common.h` and the type numbers of `ggml.h` (github.com/ggml-org/ggml).
"""

from dataclasses import dataclass

FieldLayout = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class BlockType:
    """One ggml type.

    Attributes:
        dtype: canonical name, `ggml:q4_0` for blocks, `f32` for plain elements.
        weights: elements per block; the fastest dimension is a multiple of it.
        size: bytes per block.
        fields: the fields of a block as (kind, bytes). Kinds: `f16`, `f32`, `i8`, `i16`, `e8m0`, `f8_ue4m3`
            (numbers), `nibbles` (4 bits), `crumbs` (2 bits), `bits`, `packed6` (6-bit scales and minima in 12 bytes),
            `trits` (5 ternary digits per byte) and `codebook` (indices into a table).
    """

    dtype: str
    weights: int
    size: int
    fields: FieldLayout


def _element(dtype: str, size: int) -> BlockType:
    return BlockType(dtype, 1, size, ((dtype, size),))


def _block(name: str, weights: int, *fields: tuple[str, int]) -> BlockType:
    return BlockType(f"ggml:{name}", weights, sum(size for _, size in fields), fields)


_F16 = ("f16", 2)

TYPES: dict[int, BlockType] = {
    0: _element("f32", 4),
    1: _element("f16", 2),
    2: _block("q4_0", 32, _F16, ("nibbles", 16)),
    3: _block("q4_1", 32, _F16, _F16, ("nibbles", 16)),
    6: _block("q5_0", 32, _F16, ("bits", 4), ("nibbles", 16)),
    7: _block("q5_1", 32, _F16, _F16, ("bits", 4), ("nibbles", 16)),
    8: _block("q8_0", 32, _F16, ("i8", 32)),
    9: _block("q8_1", 32, _F16, _F16, ("i8", 32)),
    10: _block("q2_k", 256, ("nibbles", 16), ("crumbs", 64), _F16, _F16),
    11: _block("q3_k", 256, ("bits", 32), ("crumbs", 64), ("packed6", 12), _F16),
    12: _block("q4_k", 256, _F16, _F16, ("packed6", 12), ("nibbles", 128)),
    13: _block("q5_k", 256, _F16, _F16, ("packed6", 12), ("bits", 32), ("nibbles", 128)),
    14: _block("q6_k", 256, ("nibbles", 128), ("crumbs", 64), ("i8", 16), _F16),
    15: _block("q8_k", 256, ("f32", 4), ("i8", 256), ("i16", 32)),
    16: _block("iq2_xxs", 256, _F16, ("codebook", 64)),
    17: _block("iq2_xs", 256, _F16, ("codebook", 64), ("nibbles", 8)),
    18: _block("iq3_xxs", 256, _F16, ("codebook", 96)),
    19: _block("iq1_s", 256, _F16, ("codebook", 32), ("codebook", 16)),
    20: _block("iq4_nl", 32, _F16, ("nibbles", 16)),
    21: _block("iq3_s", 256, _F16, ("codebook", 64), ("bits", 8), ("bits", 32), ("nibbles", 4)),
    22: _block("iq2_s", 256, _F16, ("codebook", 64), ("crumbs", 8), ("nibbles", 8)),
    23: _block("iq4_xs", 256, _F16, ("crumbs", 2), ("nibbles", 4), ("nibbles", 128)),
    24: _element("i8", 1),
    25: _element("i16", 2),
    26: _element("i32", 4),
    27: _element("i64", 8),
    28: _element("f64", 8),
    29: _block("iq1_m", 256, ("codebook", 32), ("nibbles", 16), ("codebook", 8)),
    30: _element("bf16", 2),
    34: _block("tq1_0", 256, ("trits", 48), ("trits", 4), _F16),
    35: _block("tq2_0", 256, ("crumbs", 64), _F16),
    39: _block("mxfp4", 32, ("e8m0", 1), ("nibbles", 16)),
    40: _block("nvfp4", 64, ("f8_ue4m3", 4), ("nibbles", 32)),
    41: _block("q1_0", 128, _F16, ("bits", 16)),
    42: _block("q2_0", 64, _F16, ("crumbs", 16)),
}
"""Type number in a GGUF file -> type. Numbers 4, 5, 31 to 33 and 36 to 38 were withdrawn."""

BY_DTYPE: dict[str, BlockType] = {block.dtype: block for block in TYPES.values()}
"""Canonical dtype -> type."""
