"""Rows are matched after insertions and removals."""

import numpy as np
import pytest

from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.dtype_lanes import lane_for_dtype
from workers.delta.layouts.layout import Tensor
from workers.delta.matching.rows import RowRun, match_by_position, match_rows


def matched(old: np.ndarray, new: np.ndarray) -> list[RowRun]:
    tensors = [Tensor("t", "i8", array.shape, 0, array.size) for array in (old, new)]
    files = [MemoryFile(array.tobytes()) for array in (old, new)]
    return match_rows(files[0], tensors[0], files[1], tensors[1], lane_for_dtype("i8"))


@pytest.fixture
def table() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 30, (500, 96)).astype(np.int8)


def fresh(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(0, 30, (rows, 96)).astype(np.int8)


def trained(table: np.ndarray) -> np.ndarray:
    """Change every value slightly, so that no row has the same bytes."""
    return (table + np.random.default_rng(2).integers(-2, 3, table.shape)).astype(np.int8)


def test_inserted_rows_are_unmatched_and_the_others_match(table):
    new = np.concatenate([table[:200], fresh(7), table[200:]])
    assert matched(table, trained(new)) == [RowRun(0, 0, 200), RowRun(200, None, 7), RowRun(207, 200, 300)]


def test_appended_rows_are_unmatched(table):
    assert matched(table, trained(np.concatenate([table, fresh(9)]))) == [
        RowRun(0, 0, 500),
        RowRun(500, None, 9),
    ]


def test_removed_rows_are_skipped(table):
    new = np.concatenate([table[:50], table[80:]])
    assert matched(table, trained(new)) == [RowRun(0, 0, 50), RowRun(50, 80, 420)]


def test_insertions_and_removals_in_one_tensor_are_found(table):
    new = np.concatenate([table[:100], fresh(3), table[100:300], table[350:], fresh(5)])
    assert matched(table, trained(new)) == [
        RowRun(0, 0, 100),
        RowRun(100, None, 3),
        RowRun(103, 100, 200),
        RowRun(303, 350, 150),
        RowRun(453, None, 5),
    ]


def test_a_replaced_row_is_compared_with_the_row_at_its_position(table):
    new = trained(np.concatenate([table, fresh(2)]))
    new[250] = -new[250]
    assert matched(table, new) == [RowRun(0, 0, 500), RowRun(500, None, 2)]


def test_every_new_row_has_at_most_one_match(table):
    rng = np.random.default_rng(3)
    for _ in range(20):
        keep = rng.random(500) < 0.9
        new = np.concatenate([fresh(int(rng.integers(1, 20))), table[keep]])
        at = 0
        for run in matched(table, new):
            assert run.new == at
            assert run.old is None or 0 <= run.old <= 500 - run.count
            at += run.count
        assert at == len(new)


def test_rows_of_a_few_values_are_matched_by_position():
    assert match_by_position(5, 8) == [RowRun(0, 0, 5), RowRun(5, None, 3)]
    assert match_by_position(8, 5) == [RowRun(0, 0, 5)]
    narrow = np.arange(20, dtype=np.int8).reshape(10, 2)
    assert matched(narrow, narrow[:7]) == [RowRun(0, 0, 7)]
