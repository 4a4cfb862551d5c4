"""Decodes one field of a delta lane, whose symbols are grouped by their expected size (see `README.md`, "Groups")."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sdk_contract.patch.errors import NotReversible, PatchCorrupt, PatchUnsupported
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.elements import (
    SPARSE_RATIO,
    Bytes,
    Element,
    dtype_of,
    exponents_of,
    has_exponent,
    symbols_per_byte,
)
from sdk_contract.patch.payload.exponent_quads import MAX_QUAD_GROUPS, TOKEN_ESCAPE, group_in_quads
from sdk_contract.patch.payload.runs import Dtype, Run, Symbols, read_run
from sdk_contract.patch.payload.sparse_indices import Indices, true_indices

UNGROUPED, BY_EXPONENT, BY_LEADER, BY_EXPONENT_IN_QUADS = range(4)
MAX_GROUPS = 32
MAX_LEADER_KEY = 15


@dataclass(frozen=True, slots=True)
class FieldContext:
    """The data that the decoding of a field depends on.

    Attributes:
        element: element type of the values.
        count: number of symbols, in all units together.
        units: number of units in the lane.
        old: bytes of the old values; None when a patch is reversed.
        leaders: field number -> symbols, for the decoded fields that have an exponent.
    """

    element: Element
    count: int
    units: int
    old: Bytes | None
    leaders: dict[int, Symbols]


def symbol_count(element: Element, size: int) -> int:
    """Number of symbols for `size` bytes of an element."""
    symbols, per_bytes = symbols_per_byte(element)
    return size * symbols // per_bytes


def read_field(cursor: Cursor, context: FieldContext) -> Run:
    """Decode the symbols of one field, in the order of the values.

    Raises:
        PatchCorrupt: the payload violates a rule.
        PatchUnsupported: the grouping is unknown.
        NotReversible: the grouping depends on the old values, which are unknown.
    """
    grouping = cursor.byte()
    if grouping == UNGROUPED:
        return read_run(cursor, context.count, dtype_of(context.element))
    if grouping == BY_EXPONENT:
        groups = groups_by_exponent(context.element, _old_values(context), _read_cuts(cursor))
        return _read_groups(cursor, dtype_of(context.element), context.count, groups)
    if grouping == BY_LEADER:
        return _read_groups(
            cursor, dtype_of(context.element), context.count, _groups_by_leader(cursor, context)
        )
    if grouping == BY_EXPONENT_IN_QUADS:
        return _read_quads(cursor, context)
    raise PatchUnsupported(f"grouping {grouping}")


@dataclass(frozen=True, slots=True)
class UnitGroup:
    """A group of complete units, each with `size` consecutive symbols."""

    size: int
    unit_indices: Indices

    @property
    def count(self) -> int:
        """Number of symbols in the group."""
        return len(self.unit_indices) * self.size

    def symbol_indices(self, at: Indices) -> Indices:
        """Convert positions in the group to positions among all symbols."""
        if self.size & (self.size - 1):
            unit, inside = np.divmod(at, self.size)
        else:
            unit, inside = at >> (self.size.bit_length() - 1), at & (self.size - 1)
        return np.asarray(self.unit_indices[unit] * self.size + inside)

    def fill(self, symbols: Symbols, values: Symbols) -> None:
        """Copy the group's values to their positions in `symbols`."""
        # A void type, because NumPy moves its items twice as fast as rows.
        item = f"V{self.size * symbols.dtype.itemsize}"
        symbols.view(item)[self.unit_indices] = np.ascontiguousarray(values).view(item)


def _read_groups(cursor: Cursor, dtype: Dtype, count: int, members: Iterable[UnitGroup]) -> Run:
    """Read the groups' runs, and merge them into one run of `count` numbers; sparse if few are not zero."""
    groups = [(group, read_run(cursor, group.count, dtype)) for group in members]
    if SPARSE_RATIO * sum(len(run.values) for _, run in groups) <= count:
        return _merge_sparse(count, groups)
    symbols: Symbols = np.empty(count, dtype)
    for group, run in groups:
        group.fill(symbols, run.dense())
    return Run(count, None, symbols)


def _merge_sparse(count: int, groups: list[tuple[UnitGroup, Run]]) -> Run:
    indices, values = [np.zeros(0, np.int64)], []
    for group, run in groups:
        at = np.arange(run.count) if run.indices is None else run.indices
        indices.append(group.symbol_indices(at))
        values.append(run.values)
    return Run(count, np.concatenate(indices), np.concatenate(values))


def _old_values(context: FieldContext) -> Bytes:
    """The old values, for a grouping that depends on them."""
    if not has_exponent(context.element):
        raise PatchCorrupt(f"{context.element.name} has no exponent")
    if context.old is None:
        raise NotReversible("the differences are grouped by their old values")
    return context.old


def _read_quads(cursor: Cursor, context: FieldContext) -> Run:
    old, cuts = _old_values(context), _read_cuts(cursor)
    if len(cuts) >= MAX_QUAD_GROUPS:
        raise PatchCorrupt(f"{len(cuts)} cuts of quads")
    byte, dtype = np.dtype("<u1"), dtype_of(context.element)
    quads = group_in_quads(context.element, old, cuts)
    groups = [read_run(cursor, size, byte).dense() for size in quads.group_sizes()]
    tokens = quads.merge(groups)[: context.count]
    indices = true_indices(tokens == TOKEN_ESCAPE)
    tokens[indices] = 0
    rest = read_run(cursor, len(indices), dtype).dense() + dtype.type(TOKEN_ESCAPE)
    return Run(context.count, None, tokens, Run(context.count, indices, rest))


def _read_cuts(cursor: Cursor) -> bytes:
    cuts = bytes(cursor.take(cursor.byte()))
    if not 0 < len(cuts) < MAX_GROUPS or any(a >= b for a, b in pairwise(cuts)):
        raise PatchCorrupt("the cuts of a grouping are not ascending, or have a wrong count")
    return cuts


def _groups_by_leader(cursor: Cursor, context: FieldContext) -> list[UnitGroup]:
    leader = context.leaders.get(cursor.byte())
    if leader is None or context.count % context.units:
        raise PatchCorrupt("a grouping names no valid leading field")
    cuts = _read_cuts(cursor)
    return groups_by_key(leader_keys(leader, context.units), cuts, context.count // context.units)


def leader_keys(leader: Symbols, units: int) -> Symbols:
    """Key of each unit: the bit length of the leading field's largest symbol, at most 15."""
    per_unit = leader.reshape(units, -1)
    largest = per_unit[:, 0] if per_unit.shape[1] == 1 else per_unit.max(axis=1)
    largest = np.minimum(largest, (1 << MAX_LEADER_KEY) - 1)
    # The exponent of an integer as a float32 is its bit length; zero needs the lower bound.
    lengths = np.maximum(largest.astype(np.float32).view(np.int32) >> 23, 126)
    return np.asarray((lengths - 126).astype(np.uint8))


def groups_by_exponent(element: Element, old: Bytes, cuts: bytes) -> list[UnitGroup]:
    """Group single values by the exponent of their old value."""
    return groups_by_key(exponents_of(element, old), cuts, 1)


def groups_by_key(keys: Symbols, cuts: bytes, size: int) -> list[UnitGroup]:
    """Group units by their key: below the first cut, from there to the next cut, and so on."""
    numbers = np.zeros(len(keys), np.uint8)
    for cut in cuts:
        numbers += (keys >= cut).view(np.uint8)
    order = np.argsort(numbers, kind="stable")
    later = np.arange(1, len(cuts) + 1, dtype=np.uint8)
    ends = [*np.searchsorted(numbers, later, sorter=order).tolist(), len(order)]
    return [UnitGroup(size, order[begin:end]) for begin, end in pairwise([0, *ends])]
