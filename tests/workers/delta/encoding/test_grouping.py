"""Grouping differences of similar magnitude makes patches smaller."""

import numpy as np
import pytest
import zstandard

from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.elements import Element, differences
from sdk_contract.patch.payload.field_groups import (
    BY_EXPONENT,
    BY_EXPONENT_IN_QUADS,
    BY_LEADER,
    UNGROUPED,
    FieldContext,
    read_field,
)
from sdk_contract.patch.payload.runs import Run
from workers.delta.encoding.grouping import choose_cuts, encode_field


def bf16(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").view(np.uint8)


@pytest.fixture(scope="module")
def trained() -> tuple[np.ndarray, Run]:
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.05, 200_000)
    old, new = bf16(weights), bf16(weights + rng.normal(0, 2e-4, len(weights)))
    return old, differences(Element.BF16, old, new)


def back(data: bytes, context: FieldContext) -> np.ndarray:
    cursor = Cursor(data, zstandard.ZstdDecompressor())
    run = read_field(cursor, context)
    assert cursor.remaining == 0
    return run.dense()


def test_training_steps_cost_less_when_grouped_by_the_exponent_of_the_old_value(trained):
    old, run = trained
    grouped = encode_field(Element.BF16, old, run, run.count, {}, reversible=False)
    plain = encode_field(Element.BF16, old, run, run.count, {}, reversible=True)
    assert grouped[0] == BY_EXPONENT_IN_QUADS
    assert plain[0] == UNGROUPED
    assert len(grouped) < 0.85 * len(plain)
    for data in (grouped, plain):
        context = FieldContext(Element.BF16, run.count, run.count, old, {})
        np.testing.assert_array_equal(back(data, context), run.dense())


@pytest.mark.parametrize(
    ("element", "step", "rate", "grouping"),
    [
        (Element.BF16, 2e-4, 1.0, BY_EXPONENT_IN_QUADS),
        (Element.BF16, 2e-4, 0.05, BY_EXPONENT),
        (Element.BF16, 2e-2, 1.0, BY_EXPONENT),
        (Element.F16, 2e-4, 1.0, BY_EXPONENT_IN_QUADS),
        (Element.F32, 2e-4, 1.0, BY_EXPONENT),
    ],
)
def test_floats_are_restored_for_any_number_and_size_of_changes(element, step, rate, grouping):
    rng = np.random.default_rng(5)
    weights = rng.normal(0, 0.05, 150_001)
    moved = weights + np.where(rng.random(len(weights)) < rate, rng.normal(0, step, len(weights)), 0)
    if element is Element.BF16:
        old, new = bf16(weights), bf16(moved)
    else:
        dtype = "<f2" if element is Element.F16 else "<f4"
        old, new = (side.astype(dtype).view(np.uint8) for side in (weights, moved))
    run = differences(element, old, new)
    data = encode_field(element, old, run, run.count, {}, reversible=False)
    assert data[0] == grouping
    np.testing.assert_array_equal(
        back(data, FieldContext(element, run.count, run.count, old, {})), run.dense()
    )


def test_differences_that_do_not_depend_on_the_exponent_are_not_grouped():
    rng = np.random.default_rng(2)
    keys = rng.integers(110, 125, 100_000).astype(np.uint8)
    assert choose_cuts(keys, rng.geometric(0.4, 100_000).astype("<u2"), 8) == b""


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_units_whose_scale_changed_are_a_group_of_their_own(rate):
    rng = np.random.default_rng(3)
    units, size = 4000, 32
    leader = np.where(rng.random(units) < 0.3, 16, 0).astype("<u2")
    chance = np.where(leader > 0, 0.5, rate)[:, None]
    codes = (rng.random((units, size)) < chance).astype("<u1").reshape(-1)
    places = np.flatnonzero(codes)
    for run in (Run(len(codes), None, codes), Run(len(codes), places, codes[places])):
        data = encode_field(Element.INT8, np.zeros(0, np.uint8), run, units, {0: leader}, reversible=False)
        assert data[0] == BY_LEADER
        context = FieldContext(Element.INT8, len(codes), units, None, {0: leader})
        np.testing.assert_array_equal(back(data, context), codes)
