"""Encoding one field: symbols of like spread go together, so that each group gets codes of its own."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.codecs import Run, Symbols
from sdk_contract.patch.groups import (
    BY_EXPONENT,
    BY_LEADER,
    BY_NOTHING,
    IN_QUADS,
    Units,
    exponent_units,
    leader_classes,
    unit_groups,
)
from sdk_contract.patch.quads import MAX_QUAD_GROUPS, TOKEN_ESCAPE, quads_of
from sdk_contract.patch.transforms import SPARSE_PART, Bytes, Element, has_key, key_of
from workers.delta.runs import encode_run, encode_sparse

KEYED_MIN = 4096
# Each group costs about a Huffman table, and a device time; eight would gain two parts in a hundred.
MAX_EXPONENT_GROUPS = 6
# Where more of the values do not fit into a byte, grouping them as they are is cheaper.
MOST_ESCAPES = 0.2
MAX_LEADER_GROUPS = 5
# The scales of quantised blocks are few; a group of fewer than this costs a device more time than it saves bytes.
SYMBOLS_PER_GROUP = 1 << 14
GROUP_COST_BITS = 500.0
# A device spends a tenth of a block's time on putting groups together: they have to save this share of the bytes.
WORTH_GROUPS = 0.05
SAMPLE = 1 << 13
LEADER_SAMPLE = 1 << 17


def encode_field(
    element: Element,
    old: Bytes,
    run: Run,
    units: int,
    leaders: dict[int, Symbols],
    *,
    reversible: bool,
    beside: int = 0,
) -> bytes:
    """A field's data for `sdk_contract.patch.groups.read_field`.

    Args:
        element: the kind of the values.
        old: the old values' bytes.
        run: their differences to the new ones.
        units: of the lane.
        leaders: symbols of the scales of the same units, by field number.
        reversible: do not group by the old value.
        beside: other bytes of the same block.
    """
    if run.count < KEYED_MIN or not run.values.any():
        return _plain(run)
    if has_key(element):
        # To group the scales of quantised blocks takes a device a tenth of its time, for a part in a hundred of the
        # bytes; where hardly anything changed it has the time, and they are most of what is left.
        few = SPARSE_PART * int(np.count_nonzero(run.values)) < run.count
        keyed = not reversible and (few or len(old) >= beside)
        return _by_exponent(element, old, run.dense(), few=few) if keyed else _plain(run)
    if leaders:
        number, leader = max(leaders.items(), key=lambda item: len(item[1]))
        return _by_leader(number, leader, run, units)
    return _plain(run)


def _plain(run: Run) -> bytes:
    return bytes((BY_NOTHING,)) + encode_sparse(run)


def _by_exponent(element: Element, old: Bytes, symbols: Symbols, *, few: bool) -> bytes:
    """In quads, except where few values changed, or many so far that their tokens say little."""
    step = max(1, len(symbols) // SAMPLE)
    keys = key_of(element, np.ascontiguousarray(old.view(symbols.dtype)[::step]).view(np.uint8))
    sampled = symbols[::step]
    if few or np.count_nonzero(sampled >= TOKEN_ESCAPE) > MOST_ESCAPES * len(sampled):
        most = min(MAX_EXPONENT_GROUPS, max(2, len(symbols) // SYMBOLS_PER_GROUP))
        cuts, grouping = choose_cuts(keys, sampled, most, step), BY_EXPONENT
    else:
        cuts, grouping = choose_cuts(keys, sampled, MAX_QUAD_GROUPS, step), IN_QUADS
    if not cuts:
        return _plain(Run(len(symbols), None, symbols))
    code = _in_quads if grouping == IN_QUADS else _in_order
    return bytes((grouping, len(cuts))) + cuts + code(element, old, symbols, cuts)


def _in_order(element: Element, old: Bytes, symbols: Symbols, cuts: bytes) -> bytes:
    return b"".join(encode_run(symbols[group.numbers]) for group in exponent_units(element, old, cuts))


def _in_quads(element: Element, old: Bytes, symbols: Symbols, cuts: bytes) -> bytes:
    tokens = np.minimum(symbols, symbols.dtype.type(TOKEN_ESCAPE)).astype(np.uint8)
    groups = quads_of(element, old, cuts).split(tokens)
    rest = symbols[tokens == TOKEN_ESCAPE] - symbols.dtype.type(TOKEN_ESCAPE)
    return b"".join(encode_run(group) for group in groups) + encode_run(rest)


def _by_leader(number: int, leader: Symbols, run: Run, units: int) -> bytes:
    classes = leader_classes(leader, units)
    size = run.count // units
    step = max(1, run.count // LEADER_SAMPLE)
    sampled = run.dense().reshape(-1, size)[::step]
    cuts = choose_cuts(
        np.repeat(classes[::step], size), sampled.reshape(-1), MAX_LEADER_GROUPS, least=WORTH_GROUPS
    )
    if not cuts:
        return _plain(run)
    split = _dense_parts if run.places is None else _sparse_parts
    parts = split(run, unit_groups(classes, cuts, size))
    return bytes((BY_LEADER, number, len(cuts))) + cuts + b"".join(encode_sparse(part) for part in parts)


def _dense_parts(run: Run, groups: list[Units]) -> Iterator[Run]:
    for group in groups:
        values = run.values.reshape(-1, group.size).take(group.numbers, axis=0).reshape(-1)
        yield Run(group.count, None, values)


def _sparse_parts(run: Run, groups: list[Units]) -> Iterator[Run]:
    """Each group's share of the changes, at their places among the units of that group."""
    size = groups[0].size
    places = np.arange(0) if run.places is None else run.places
    unit = places >> (size.bit_length() - 1) if size & (size - 1) == 0 else places // size
    inside = places - unit * size
    number_of, rank_of = np.empty(run.count // size, np.uint8), np.empty(run.count // size, np.int64)
    for number, group in enumerate(groups):
        number_of[group.numbers] = number
        rank_of[group.numbers] = np.arange(len(group.numbers))
    numbers = number_of[unit]
    for number, group in enumerate(groups):
        chosen = np.flatnonzero(numbers == number)
        yield Run(group.count, rank_of[unit[chosen]] * size + inside[chosen], run.values[chosen])


def choose_cuts(keys: Symbols, symbols: Symbols, most: int, weight: int = 1, *, least: float = 0.0) -> bytes:
    """Keys that start a new group, such that the groups' entropies add up to least.

    A sample's histogram per key, with larger symbols in classes of a quarter octave, decides; the best
    split into at most `most` ranges of keys is found by dynamic programming. `weight` is how many values
    each of those given stands for. None, if all of it saves less than the share `least`.
    """
    step = max(1, len(keys) // SAMPLE)
    sampled, small = keys[::step], _classes(symbols[::step])
    exponents = np.flatnonzero(np.bincount(sampled, minlength=256))
    if len(exponents) == 1:
        return b""
    row_of = np.zeros(256, np.int64)
    row_of[exponents] = np.arange(len(exponents))
    rows = row_of[sampled]
    counts = np.bincount(rows * 64 + small, minlength=64 * len(exponents)).reshape(-1, 64)
    costs = _range_costs(counts) + GROUP_COST_BITS / (step * weight)
    begins = _best_ranges(costs, most)
    together = sum(costs[begin, end] for begin, end in pairwise([*begins, len(exponents)]))
    if together > (1 - least) * costs[0, len(exponents)]:
        return b""
    return bytes(int(exponents[begin]) for begin in begins[1:])


def _classes(symbols: Symbols) -> npt.NDArray[np.int64]:
    if symbols.dtype.itemsize <= 2:
        return _CLASS.take(symbols)
    return _logarithmic(symbols, 1.7)


def _logarithmic(symbols: Symbols, per_octave: float) -> npt.NDArray[np.int64]:
    """Numbers below 16 are classes of their own, larger ones share some classes per octave."""
    wide = symbols.astype(np.float64)
    log = np.log2(np.maximum(wide, 1.0))
    return np.asarray(np.where(wide < 16, wide, 16 + (log - 4) * per_octave).astype(np.int64))


_CLASS = _logarithmic(np.arange(1 << 16, dtype=np.uint32), 4.0)


def _range_costs(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Bits that exponents `i` to `j - 1` need together, at `[i, j]`; counts add up to less than 2 `SAMPLE`."""
    sums = np.vstack([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    begins, ends = np.triu_indices(len(sums), 1)
    spans = sums[ends] - sums[begins]
    costs = np.full((len(sums), len(sums)), np.inf)
    costs[begins, ends] = _WEIGHED.take(spans.sum(axis=1)) - _WEIGHED.take(spans).sum(axis=1)
    return costs


# n log2 n: a table, because a logarithm is ten times as slow.
_WEIGHED = np.arange(2 * SAMPLE) * np.log2(np.maximum(np.arange(2 * SAMPLE), 1))


def _best_ranges(costs: npt.NDArray[np.float64], most: int) -> list[int]:
    """Begins of at most `most` ranges that cover everything at least cost."""
    best, came = [costs[0]], [np.zeros(len(costs), int)]
    for _ in range(most - 1):
        through = best[-1][:, None] + costs
        came.append(np.argmin(through, axis=0))
        best.append(np.min(through, axis=0))
    groups = int(np.argmin([row[-1] for row in best]))
    begins, end = [], len(costs) - 1
    for level in range(groups, -1, -1):
        end = int(came[level][end])
        begins.append(end)
    return begins[::-1]
