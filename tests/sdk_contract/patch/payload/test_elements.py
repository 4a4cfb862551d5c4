"""Element types: differences of any bits are restored exactly, in both directions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_contract.patch.payload.elements import Element, dense_differences, dtype_of, restore
from sdk_contract.patch.payload.runs import Run

FLOATS = {
    Element.BF16: (0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0xFFFF, 0x0001, 0x8001, 0x3F80),
    Element.F16: (0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E01, 0xFFFF, 0x0001, 0x8001, 0x3C00),
    Element.F32: (0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00001, 0xFFFFFFFF, 1, (1 << 31) + 1, 0x3F800000),
}


def both_ways(element: Element, old: np.ndarray, new: np.ndarray) -> None:
    symbols = dense_differences(element, old, new)
    places = np.flatnonzero(symbols)
    for run in (Run(len(symbols), None, symbols), Run(len(symbols), places, symbols[places])):
        np.testing.assert_array_equal(restore(element, old, run), new)
        np.testing.assert_array_equal(restore(element, new, run, forward=False), old)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(Element)), st.binary(min_size=8, max_size=64), st.binary(min_size=8, max_size=64))
def test_differences_of_any_bytes_are_restored(element, one, other):
    size = min(len(one), len(other)) // 8 * 8
    old, new = (np.frombuffer(side[:size], np.uint8) for side in (one, other))
    both_ways(element, old, new)


@pytest.mark.parametrize("element", list(Element))
def test_sparse_differences_are_restored(element):
    rng = np.random.default_rng(1)
    old = rng.integers(0, 256, 4096).astype(np.uint8)
    new = old.copy()
    new[::97] ^= 0x11
    both_ways(element, old, new)


@pytest.mark.parametrize("element", FLOATS)
def test_signed_zeros_infinities_and_nan_payloads_are_preserved(element):
    words = np.array(FLOATS[element], dtype_of(element))
    old, new = (grid.reshape(-1).copy() for grid in np.meshgrid(words, words))
    both_ways(element, old.view(np.uint8), new.view(np.uint8))


@pytest.mark.parametrize(
    ("element", "bits"), [(Element.BF16, 0x3F80), (Element.F16, 0x3C00), (Element.F32, 0x3F800000)]
)
def test_neighboring_floats_differ_by_one_at_every_exponent(element, bits):
    dtype = dtype_of(element)
    old = np.array([bits - 1, bits, bits + 1], dtype)
    new = np.array([bits, bits + 1, bits], dtype)
    assert dense_differences(element, old.view(np.uint8), new.view(np.uint8)).tolist() == [2, 2, 1]


def test_a_changed_sign_is_one_symbol():
    old, new = np.array([0x0001, 0x8001], "<u2"), np.array([0x8001, 0x0001], "<u2")
    symbols = dense_differences(Element.BF16, old.view(np.uint8), new.view(np.uint8))
    assert symbols.tolist() == [0xFFFF, 0xFFFF]


@pytest.mark.parametrize("element", [Element.BF16, Element.F16, Element.F32])
def test_few_large_symbols_can_be_stored_beside_many_of_one_byte(element):
    dtype = dtype_of(element)
    rng = np.random.default_rng(2)
    old = rng.integers(0, np.iinfo(dtype).max, 999, dtype, endpoint=True)
    symbols = rng.integers(0, 255, 999).astype(dtype)
    places = np.arange(3, 999, 17)
    symbols[places] = np.iinfo(dtype).max - places.astype(dtype)
    small = np.where(symbols < 255, symbols, 0).astype(np.uint8)
    apart = Run(999, None, small, Run(999, places, symbols[places]))
    np.testing.assert_array_equal(apart.dense(), symbols)
    for forward in (True, False):
        made = restore(element, old.view(np.uint8), apart, forward=forward)
        expected = restore(element, old.view(np.uint8), Run(999, None, symbols), forward=forward)
        np.testing.assert_array_equal(made, expected)
