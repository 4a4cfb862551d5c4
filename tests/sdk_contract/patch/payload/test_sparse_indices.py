"""Sparse indices: equal to a simple search, at any share of true values."""

import numpy as np
import pytest

from sdk_contract.patch.payload.sparse_indices import part_indices, true_indices


@pytest.mark.parametrize("count", [0, 1, 9, 4000, 20_000, 40_003])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.004, 0.01, 0.04, 0.06, 0.09, 0.2, 1.0])
def test_the_indices_of_all_true_values_are_found_in_order(count, share):
    chosen = np.random.default_rng(count).random(count) < share
    places = true_indices(chosen)
    assert places.dtype == np.int64
    assert places.tolist() == [place for place, true in enumerate(chosen.tolist()) if true]


@pytest.mark.parametrize("place", [0, 1, 7, 8, 19_999, 20_000])
def test_a_single_true_value_is_found_anywhere(place):
    chosen = np.zeros(20_001, np.bool_)
    chosen[place] = True
    assert true_indices(chosen).tolist() == [place]


def test_part_indices_count_the_parts_of_all_items():
    parts = part_indices(np.array([1, 5, 6]), np.array([0, 3, 4, 11]), 2)
    assert parts.tolist() == [4, 7, 20, 27]
