"""The lane for each dtype: how its values lie in a unit and are subtracted (see `sdk_contract/patch/README.md`)."""

from functools import cache

from sdk_contract.patch.payload.block_plan import Field, Lane, LaneKind
from sdk_contract.patch.payload.elements import Element

_BYTE = (1, ((1, Element.INT8),))

# dtype -> bytes of a unit, and its fields as (bytes, element) in order.
_UNITS: dict[str, tuple[int, tuple[tuple[int, Element], ...]]] = {
    "i8": _BYTE,
    "u8": _BYTE,
    "bool": _BYTE,
    "i4": (1, ((1, Element.INT4),)),
    "u4": (1, ((1, Element.INT4),)),
    "f4": (1, ((1, Element.INT4),)),
    "bf16": (2, ((2, Element.BF16),)),
    "f16": (2, ((2, Element.F16),)),
    "i16": (2, ((2, Element.INT16),)),
    "u16": (2, ((2, Element.INT16),)),
    "f32": (4, ((4, Element.F32),)),
    "i32": (4, ((4, Element.INT32),)),
    "u32": (4, ((4, Element.INT32),)),
    "i64": (8, ((4, Element.INT32), (4, Element.INT32))),
    "u64": (8, ((4, Element.INT32), (4, Element.INT32))),
    "f64": (8, ((4, Element.INT32), (4, Element.F32))),
    "c64": (8, ((8, Element.F32),)),
    # Blocks of ggml, field by field, in the order of the structs in ggml-common.h.
    "ggml:q4_0": (18, ((2, Element.F16), (16, Element.INT4))),
    "ggml:q4_1": (20, ((4, Element.F16), (16, Element.INT4))),
    "ggml:q5_0": (22, ((2, Element.F16), (4, Element.XOR8), (16, Element.INT4))),
    "ggml:q5_1": (24, ((4, Element.F16), (4, Element.XOR8), (16, Element.INT4))),
    "ggml:q8_0": (34, ((2, Element.F16), (32, Element.INT8))),
    "ggml:q2_k": (84, ((16, Element.INT4), (64, Element.XOR8), (4, Element.F16))),
    "ggml:q3_k": (110, ((32, Element.XOR8), (64, Element.XOR8), (12, Element.XOR8), (2, Element.F16))),
    "ggml:q4_k": (144, ((4, Element.F16), (12, Element.XOR8), (128, Element.INT4))),
    "ggml:q5_k": (176, ((4, Element.F16), (12, Element.XOR8), (32, Element.XOR8), (128, Element.INT4))),
    "ggml:q6_k": (210, ((128, Element.INT4), (64, Element.XOR8), (16, Element.INT8), (2, Element.F16))),
    "ggml:iq4_nl": (18, ((2, Element.F16), (16, Element.INT4))),
    "ggml:iq4_xs": (136, ((2, Element.F16), (2, Element.XOR8), (4, Element.XOR8), (128, Element.INT4))),
    "ggml:mxfp4": (17, ((1, Element.INT8), (16, Element.INT4))),
    "ggml:nvfp4": (36, ((4, Element.INT8), (32, Element.INT4))),
    "ggml:f32": (4, ((4, Element.F32),)),
    "ggml:f16": (2, ((2, Element.F16),)),
    "ggml:bf16": (2, ((2, Element.BF16),)),
    "ggml:i8": _BYTE,
    "ggml:i16": (2, ((2, Element.INT16),)),
    "ggml:i32": (4, ((4, Element.INT32),)),
    "ggml:i64": (8, ((4, Element.INT32), (4, Element.INT32))),
    "ggml:f64": (8, ((4, Element.INT32), (4, Element.F32))),
}

COPY = Lane(LaneKind.COPY)
ZERO = Lane(LaneKind.ZERO)
LITERAL = Lane(LaneKind.LITERAL)
BSDIFF = Lane(LaneKind.BSDIFF)


@cache
def lane_for_dtype(dtype: str) -> Lane:
    """Return the lane for tensors of a dtype; fp8 and unknown dtypes are compared byte by byte."""
    stride, parts = _UNITS.get(dtype, _BYTE)
    fields, offset = [], 0
    for length, element in parts:
        fields.append(Field(offset, length, element))
        offset += length
    return Lane(LaneKind.DELTA, stride, tuple(fields))


BYTES = lane_for_dtype("u8")
NIBBLES = lane_for_dtype("u4")
INTEGERS32 = lane_for_dtype("i32")
FLOAT32 = lane_for_dtype("f32")
# bfloat16 weights are often stored as float32 with low halves of zero.
WIDENED_BFLOAT16 = Lane(LaneKind.DELTA, 4, (Field(0, 2, Element.INT16), Field(2, 2, Element.BF16)))
