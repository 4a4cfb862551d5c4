"""The fields of every dtype fill its unit, which has the size that the format defines."""

import pytest

from sdk_contract.patch.payload.elements import Element
from workers.delta.dtype_lanes import _UNITS, lane_for_dtype


@pytest.mark.parametrize("dtype", sorted(_UNITS))
def test_the_fields_fill_the_unit(dtype):
    lane = lane_for_dtype(dtype)
    assert sum(field.length for field in lane.fields) == lane.stride
    assert [field.offset for field in lane.fields] == sorted(field.offset for field in lane.fields)


# Bytes per block of 32 or 256 weights, from the structs of ggml-common.h.
@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("q4_0", 18),
        ("q4_1", 20),
        ("q5_0", 22),
        ("q5_1", 24),
        ("q8_0", 34),
        ("q2_k", 84),
        ("q3_k", 110),
        ("q4_k", 144),
        ("q5_k", 176),
        ("q6_k", 210),
        ("iq4_nl", 18),
        ("iq4_xs", 136),
        ("mxfp4", 17),
        ("nvfp4", 36),
    ],
)
def test_blocks_of_ggml_have_the_size_of_their_struct(dtype, size):
    assert lane_for_dtype(f"ggml:{dtype}").stride == size


def test_unknown_dtypes_are_compared_byte_by_byte():
    lane = lane_for_dtype("ggml:q9_x")
    assert lane.stride == 1
    assert lane.fields[0].element is Element.INT8
