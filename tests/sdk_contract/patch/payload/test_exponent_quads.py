"""Quads: values are grouped by their old exponents, in the order of the specification."""

import numpy as np
import pytest

from sdk_contract.patch.payload.elements import Element, dtype_of
from sdk_contract.patch.payload.exponent_quads import group_in_quads


def expected_groups(keys: list[int], cuts: bytes, tokens: list[int]) -> list[list[int]]:
    """The tokens of the four groups, computed value by value from the specification."""
    missing = -len(keys) % 4
    groups = [sum(cut <= key for cut in cuts) for key in keys] + [0] * missing
    tokens = tokens + [0] * missing
    classes = [sum(groups[at + side] << 2 * side for side in range(4)) for at in range(0, len(groups), 4)]
    order = sorted(range(len(classes)), key=classes.__getitem__)
    found: list[list[int]] = [[] for _ in range(4)]
    for side in (3, 2, 1, 0):
        for quad in order:
            found[groups[4 * quad + side]].append(tokens[4 * quad + side])
    return found


@pytest.mark.parametrize("count", [1, 2, 7, 8, 501])
@pytest.mark.parametrize(
    ("element", "shift", "mask", "cuts"),
    [
        (Element.BF16, 7, 0xFF, bytes((100, 120, 127))),
        (Element.BF16, 7, 0xFF, bytes((128,))),
        (Element.F16, 10, 0x1F, bytes((9, 31, 200))),
        (Element.F16, 10, 0x1F, bytes((40, 50))),
        (Element.F32, 23, 0xFF, bytes((0, 1, 255))),
    ],
)
def test_groups_have_the_tokens_in_the_specified_order(count, element, shift, mask, cuts):
    dtype = dtype_of(element)
    rng = np.random.default_rng(count)
    old = rng.integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)
    tokens = rng.integers(1, 256, count).astype(np.uint8)
    quads = group_in_quads(element, old.view(np.uint8), cuts)
    groups = quads.split(tokens)
    keys = [int(value) >> shift & mask for value in old]
    assert [group.tolist() for group in groups] == expected_groups(keys, cuts, tokens.tolist())
    assert quads.group_sizes() == [len(group) for group in groups]
    np.testing.assert_array_equal(quads.merge(groups)[:count], tokens)


def test_integers_cannot_be_grouped_by_exponent():
    with pytest.raises(ValueError, match="no exponent"):
        group_in_quads(Element.INT8, np.zeros(8, np.uint8), b"\x05")
