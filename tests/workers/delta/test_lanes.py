"""Every dtype's unit is filled by its fields, and has the size that its format gives it."""

import pytest

from sdk_contract.patch.transforms import Element
from workers.delta.lanes import _UNITS, delta_lane


@pytest.mark.parametrize("dtype", sorted(_UNITS))
def test_the_fields_fill_the_unit(dtype):
    lane = delta_lane(dtype)
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
    assert delta_lane(f"ggml:{dtype}").stride == size


def test_what_is_unknown_goes_byte_by_byte():
    lane = delta_lane("ggml:q9_x")
    assert lane.stride == 1
    assert lane.fields[0].element is Element.INT8
