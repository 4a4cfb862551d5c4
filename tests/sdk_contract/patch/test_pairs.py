"""Pairs: values in groups by their old exponents, in the order that the format's page says."""

import numpy as np
import pytest

from sdk_contract.patch.pairs import pair_values
from sdk_contract.patch.transforms import Element, dtype_of

BF16_CUTS = bytes((100, 120, 127))


def by_the_page(keys: list[int], cuts: bytes, symbols: list[int]) -> list[list[int]]:
    """Each group's symbols, value by value, as an applier in C would think of them."""
    groups = [sum(cut <= key for cut in cuts) for key in keys] + [0] * (len(keys) % 2)
    symbols = symbols + [0] * (len(symbols) % 2)
    found: list[list[int]] = [[] for _ in range(len(cuts) + 1)]
    pairs = range(len(groups) // 2)
    for number in range(256):
        members = [pair for pair in pairs if groups[2 * pair] + 16 * groups[2 * pair + 1] == number]
        for side, group in ((0, number % 16), (1, number // 16)):
            for pair in members:
                found[group].append(symbols[2 * pair + side])
    return found


@pytest.mark.parametrize("count", [1, 2, 7, 500])
@pytest.mark.parametrize(
    ("element", "shift", "mask", "cuts"),
    [
        (Element.BF16, 7, 0xFF, BF16_CUTS),
        (Element.F16, 10, 0x1F, bytes((3, 9, 15, 31, 200))),
        (Element.F32, 23, 0xFF, bytes((0, 1, 128, 255))),
        (Element.BF16, 7, 0xFF, bytes(range(112, 127))),
    ],
)
def test_groups_hold_the_symbols_in_the_order_of_the_page(count, element, shift, mask, cuts):
    dtype = dtype_of(element)
    rng = np.random.default_rng(count)
    old = rng.integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)
    symbols = rng.integers(1, 60_000, count).astype(dtype)
    pairs = pair_values(element, old.view(np.uint8), cuts)
    groups = pairs.split(symbols)
    keys = [int(value) >> shift & mask for value in old]
    assert [group.tolist() for group in groups] == by_the_page(keys, cuts, symbols.tolist())
    assert pairs.sizes() == [len(group) for group in groups]
    np.testing.assert_array_equal(pairs.merge(groups)[:count], symbols)


def test_integers_have_no_exponent_to_be_grouped_by():
    with pytest.raises(ValueError, match="no exponent"):
        pair_values(Element.INT8, np.zeros(8, np.uint8), b"\x05")
