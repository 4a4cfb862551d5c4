"""Encode one field: symbols of similar magnitude are grouped, and each group gets its own code table."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.payload.elements import SPARSE_RATIO, Bytes, Element, exponents_of, has_exponent
from sdk_contract.patch.payload.exponent_quads import MAX_QUAD_GROUPS, TOKEN_ESCAPE, group_in_quads
from sdk_contract.patch.payload.field_groups import (
    BY_EXPONENT,
    BY_EXPONENT_IN_QUADS,
    BY_LEADER,
    UNGROUPED,
    UnitGroup,
    groups_by_exponent,
    groups_by_key,
    leader_keys,
)
from sdk_contract.patch.payload.runs import Run, Symbols
from workers.delta.encoding.run_coding import encode_run, encode_sparse_run

MIN_GROUPED_VALUES = 4096
# Each group costs about one Huffman table, and time on the device. Eight groups would save 2 % of the bytes.
MAX_EXPONENT_GROUPS = 6
# If a larger share of the values does not fit into a byte, groups of whole values are smaller than quads of tokens.
MAX_ESCAPE_SHARE = 0.2
MAX_LEADER_GROUPS = 5
# A smaller group costs the device more time than it saves bytes; fields of scales have few symbols.
MIN_SYMBOLS_PER_GROUP = 1 << 14
# About the size of a Huffman table.
GROUP_COST_BITS = 500.0
# Merging groups takes a device a tenth of the time of a block, so groups must save at least this share of the bytes.
MIN_GROUPING_GAIN = 0.05
SAMPLE_SYMBOLS = 1 << 13
LEADER_SAMPLE_SYMBOLS = 1 << 17


def encode_field(
    element: Element,
    old: Bytes,
    run: Run,
    units: int,
    leaders: dict[int, Symbols],
    *,
    reversible: bool,
    other_bytes: int = 0,
) -> bytes:
    """Encode a field for `sdk_contract.patch.payload.field_groups.read_field`.

    Args:
        element: the type of the values.
        old: the bytes of the old values.
        run: the differences between old and new values.
        units: number of units of the lane.
        leaders: symbols of the scale fields of the same units, by field number.
        reversible: do not group by the old value.
        other_bytes: number of target bytes of the block in other fields.
    """
    if run.count < MIN_GROUPED_VALUES or not run.values.any():
        return _encode_ungrouped(run)
    if has_exponent(element):
        # Grouping the scales of quantized blocks takes a device a tenth of its time and saves 1 % of the bytes. Where
        # little changed, the device has the time, and the scales are most of the patch.
        few = SPARSE_RATIO * int(np.count_nonzero(run.values)) < run.count
        if not reversible and (few or len(old) >= other_bytes):
            return _encode_by_exponent(element, old, run.dense(), few=few)
        return _encode_ungrouped(run)
    if leaders:
        number, leader = max(leaders.items(), key=lambda item: len(item[1]))
        return _encode_by_leader(number, leader, run, units)
    return _encode_ungrouped(run)


def _encode_ungrouped(run: Run) -> bytes:
    return bytes((UNGROUPED,)) + encode_sparse_run(run)


def _encode_by_exponent(element: Element, old: Bytes, symbols: Symbols, *, few: bool) -> bytes:
    """Group by the exponent of the old value: in quads, unless few values changed or many need an escape."""
    step = max(1, len(symbols) // SAMPLE_SYMBOLS)
    keys = exponents_of(element, np.ascontiguousarray(old.view(symbols.dtype)[::step]).view(np.uint8))
    sampled = symbols[::step]
    if few or np.count_nonzero(sampled >= TOKEN_ESCAPE) > MAX_ESCAPE_SHARE * len(sampled):
        max_groups = min(MAX_EXPONENT_GROUPS, max(2, len(symbols) // MIN_SYMBOLS_PER_GROUP))
        cuts, grouping = choose_cuts(keys, sampled, max_groups, step), BY_EXPONENT
    else:
        cuts, grouping = choose_cuts(keys, sampled, MAX_QUAD_GROUPS, step), BY_EXPONENT_IN_QUADS
    if not cuts:
        return _encode_ungrouped(Run(len(symbols), None, symbols))
    encode = _encode_quads if grouping == BY_EXPONENT_IN_QUADS else _encode_exponent_groups
    return bytes((grouping, len(cuts))) + cuts + encode(element, old, symbols, cuts)


def _encode_exponent_groups(element: Element, old: Bytes, symbols: Symbols, cuts: bytes) -> bytes:
    return b"".join(
        encode_run(symbols[group.unit_indices]) for group in groups_by_exponent(element, old, cuts)
    )


def _encode_quads(element: Element, old: Bytes, symbols: Symbols, cuts: bytes) -> bytes:
    tokens = np.minimum(symbols, symbols.dtype.type(TOKEN_ESCAPE)).astype(np.uint8)
    groups = group_in_quads(element, old, cuts).split(tokens)
    escaped = symbols[tokens == TOKEN_ESCAPE] - symbols.dtype.type(TOKEN_ESCAPE)
    return b"".join(encode_run(group) for group in groups) + encode_run(escaped)


def _encode_by_leader(number: int, leader: Symbols, run: Run, units: int) -> bytes:
    """Group by how far the scale of the unit moved: if it moved far, all values of the unit did."""
    keys = leader_keys(leader, units)
    size = run.count // units
    step = max(1, run.count // LEADER_SAMPLE_SYMBOLS)
    sampled = run.dense().reshape(-1, size)[::step].reshape(-1)
    sampled_keys = np.repeat(keys[::step], size)
    cuts = choose_cuts(sampled_keys, sampled, MAX_LEADER_GROUPS, min_gain=MIN_GROUPING_GAIN)
    if not cuts:
        return _encode_ungrouped(run)
    split = _split_dense if run.indices is None else _split_sparse
    parts = split(run, groups_by_key(keys, cuts, size))
    return bytes((BY_LEADER, number, len(cuts))) + cuts + b"".join(encode_sparse_run(part) for part in parts)


def _split_dense(run: Run, groups: list[UnitGroup]) -> Iterator[Run]:
    for group in groups:
        values = run.values.reshape(-1, group.size).take(group.unit_indices, axis=0).reshape(-1)
        yield Run(group.count, None, values)


def _split_sparse(run: Run, groups: list[UnitGroup]) -> Iterator[Run]:
    """Yield the changes of each group, with their indices counted within the group."""
    size = groups[0].size
    indices = np.arange(0) if run.indices is None else run.indices
    unit = indices >> (size.bit_length() - 1) if size & (size - 1) == 0 else indices // size
    index_in_unit = indices - unit * size
    group_of_unit, rank_in_group = (
        np.empty(run.count // size, np.uint8),
        np.empty(run.count // size, np.int64),
    )
    for number, group in enumerate(groups):
        group_of_unit[group.unit_indices] = number
        rank_in_group[group.unit_indices] = np.arange(len(group.unit_indices))
    group_numbers = group_of_unit[unit]
    for number, group in enumerate(groups):
        members = np.flatnonzero(group_numbers == number)
        group_indices = rank_in_group[unit[members]] * size + index_in_unit[members]
        yield Run(group.count, group_indices, run.values[members])


def choose_cuts(
    keys: Symbols, symbols: Symbols, max_groups: int, weight: int = 1, *, min_gain: float = 0.0
) -> bytes:
    """Return the keys at which a new group starts, so that the sum of the groups' entropies is minimal.

    The entropies are estimated from a sample's histogram per key, with classes of a quarter octave for larger symbols.
    Dynamic programming finds the best split into ranges of keys.

    Args:
        keys: key of each symbol, 0 to 255.
        symbols: the symbols, or a sample of them.
        max_groups: upper bound of the number of groups.
        weight: number of values that each symbol stands for.
        min_gain: share of the bits that grouping has to save; otherwise the result is empty.
    """
    step = max(1, len(keys) // SAMPLE_SYMBOLS)
    sampled_keys, classes = keys[::step], _histogram_classes(symbols[::step])
    used_keys = np.flatnonzero(np.bincount(sampled_keys, minlength=256))
    if len(used_keys) == 1:
        return b""
    row_of_key = np.zeros(256, np.int64)
    row_of_key[used_keys] = np.arange(len(used_keys))
    rows = row_of_key[sampled_keys]
    counts = np.bincount(rows * 64 + classes, minlength=64 * len(used_keys)).reshape(-1, 64)
    costs = _range_costs(counts) + GROUP_COST_BITS / (step * weight)
    starts = _best_ranges(costs, max_groups)
    total_cost = sum(costs[start, end] for start, end in pairwise([*starts, len(used_keys)]))
    if total_cost > (1 - min_gain) * costs[0, len(used_keys)]:
        return b""
    return bytes(int(used_keys[start]) for start in starts[1:])


def _histogram_classes(symbols: Symbols) -> npt.NDArray[np.int64]:
    if symbols.dtype.itemsize <= 2:
        return _CLASS_OF_SYMBOL.take(symbols)
    return _logarithmic_classes(symbols, 1.7)


def _logarithmic_classes(symbols: Symbols, per_octave: float) -> npt.NDArray[np.int64]:
    """Map symbols below 16 to classes of their own, larger ones to `per_octave` classes per octave."""
    values = symbols.astype(np.float64)
    log = np.log2(np.maximum(values, 1.0))
    return np.asarray(np.where(values < 16, values, 16 + (log - 4) * per_octave).astype(np.int64))


_CLASS_OF_SYMBOL = _logarithmic_classes(np.arange(1 << 16, dtype=np.uint32), 4.0)


def _range_costs(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the bits of the group of keys `i` to `j - 1` at `[i, j]`; counts sum to less than 2 `SAMPLE_SYMBOLS`."""
    sums = np.vstack([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    starts, ends = np.triu_indices(len(sums), 1)
    spans = sums[ends] - sums[starts]
    costs = np.full((len(sums), len(sums)), np.inf)
    costs[starts, ends] = _N_LOG2_N.take(spans.sum(axis=1)) - _N_LOG2_N.take(spans).sum(axis=1)
    return costs


# A table of n log2 n, because computing the logarithm is ten times as slow.
_N_LOG2_N = np.arange(2 * SAMPLE_SYMBOLS) * np.log2(np.maximum(np.arange(2 * SAMPLE_SYMBOLS), 1))


def _best_ranges(costs: npt.NDArray[np.float64], max_ranges: int) -> list[int]:
    """Return the starts of at most `max_ranges` ranges that cover all keys at minimal cost."""
    best, previous = [costs[0]], [np.zeros(len(costs), int)]
    for _ in range(max_ranges - 1):
        extended = best[-1][:, None] + costs
        previous.append(np.argmin(extended, axis=0))
        best.append(np.min(extended, axis=0))
    last_level = int(np.argmin([row[-1] for row in best]))
    starts, end = [], len(costs) - 1
    for level in range(last_level, -1, -1):
        end = int(previous[level][end])
        starts.append(end)
    return starts[::-1]
