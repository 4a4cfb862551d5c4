"""Decoding one field of a delta lane: its symbols in groups of like spread (see `README.md`, "Groups")."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sdk_contract.patch.codecs import Dtype, Run, Symbols, read_run
from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import NotReversible, PatchCorrupt, PatchUnsupported
from sdk_contract.patch.places import Places, places_of
from sdk_contract.patch.quads import MAX_QUAD_GROUPS, TOKEN_ESCAPE, quads_of
from sdk_contract.patch.transforms import (
    SPARSE_PART,
    Bytes,
    Element,
    dtype_of,
    has_key,
    key_of,
    symbols_per_byte,
)

BY_NOTHING, BY_EXPONENT, BY_LEADER, IN_QUADS = range(4)
MAX_GROUPS = 32
MAX_CLASS = 15


@dataclass(frozen=True, slots=True)
class FieldContext:
    """What is known when a field is decoded.

    Attributes:
        element: the kind of its values.
        count: how many symbols it has, in all units together.
        units: how many units the lane has.
        old: the old values' bytes; None when only the new ones are known (`apply --reverse`).
        leaders: symbols of the lane's fields that are already decoded, by their number.
    """

    element: Element
    count: int
    units: int
    old: Bytes | None
    leaders: dict[int, Symbols]


def symbol_count(element: Element, size: int) -> int:
    """Symbols that `size` bytes of an element have."""
    symbols, per_bytes = symbols_per_byte(element)
    return size * symbols // per_bytes


def read_field(cursor: Cursor, context: FieldContext) -> Run:
    """The symbols of one field, in the order of the values.

    Raises:
        PatchCorrupt: a rule is broken.
        PatchUnsupported: unknown grouping.
        NotReversible: groups by the old value, which is not known.
    """
    grouping = cursor.byte()
    if grouping == BY_NOTHING:
        return read_run(cursor, context.count, dtype_of(context.element))
    if grouping == BY_EXPONENT:
        groups = exponent_units(context.element, _known(context), _cuts(cursor))
        return _merge(cursor, dtype_of(context.element), context.count, groups)
    if grouping == BY_LEADER:
        return _merge(cursor, dtype_of(context.element), context.count, _by_leader(cursor, context))
    if grouping == IN_QUADS:
        return _in_quads(cursor, context)
    raise PatchUnsupported(f"grouping {grouping}")


@dataclass(frozen=True, slots=True)
class Units:
    """A group of whole units, each with `size` consecutive symbols."""

    size: int
    numbers: Places

    @property
    def count(self) -> int:
        """Symbols in all of them."""
        return len(self.numbers) * self.size

    def places(self, at: Places) -> Places:
        """Where the symbols at these positions of the group stand among all symbols."""
        if self.size & (self.size - 1):
            unit, inside = np.divmod(at, self.size)
        else:
            unit, inside = at >> (self.size.bit_length() - 1), at & (self.size - 1)
        return np.asarray(self.numbers[unit] * self.size + inside)

    def fill(self, symbols: Symbols, values: Symbols) -> None:
        """Put the group's symbols where they belong."""
        # As items of a void type, because NumPy moves them twice as fast as rows.
        item = f"V{self.size * symbols.dtype.itemsize}"
        symbols.view(item)[self.numbers] = np.ascontiguousarray(values).view(item)


def _merge(cursor: Cursor, dtype: Dtype, count: int, members: Iterable[Units]) -> Run:
    """One run of `count` numbers out of the groups' runs: sparse where every group is, else dense."""
    groups = [(group, read_run(cursor, group.count, dtype)) for group in members]
    if SPARSE_PART * sum(len(run.values) for _, run in groups) <= count:
        return _merge_sparse(count, groups)
    symbols: Symbols = np.empty(count, dtype)
    for group, run in groups:
        group.fill(symbols, run.dense())
    return Run(count, None, symbols)


def _merge_sparse(count: int, groups: list[tuple[Units, Run]]) -> Run:
    places, values = [np.zeros(0, np.int64)], []
    for group, run in groups:
        at = np.arange(run.count) if run.places is None else run.places
        places.append(group.places(at))
        values.append(run.values)
    return Run(count, np.concatenate(places), np.concatenate(values))


def _known(context: FieldContext) -> Bytes:
    """The old values, for a grouping that asks for them."""
    if not has_key(context.element):
        raise PatchCorrupt(f"{context.element.name} has no exponent")
    if context.old is None:
        raise NotReversible("differences grouped by the old value")
    return context.old


def _in_quads(cursor: Cursor, context: FieldContext) -> Run:
    old, cuts = _known(context), _cuts(cursor)
    if len(cuts) >= MAX_QUAD_GROUPS:
        raise PatchCorrupt(f"{len(cuts)} cuts of quads")
    byte, dtype = np.dtype("<u1"), dtype_of(context.element)
    quads = quads_of(context.element, old, cuts)
    groups = [read_run(cursor, size, byte).dense() for size in quads.sizes()]
    tokens = quads.merge(groups)[: context.count]
    places = places_of(tokens == TOKEN_ESCAPE)
    tokens[places] = 0
    rest = read_run(cursor, len(places), dtype).dense() + dtype.type(TOKEN_ESCAPE)
    return Run(context.count, None, tokens, Run(context.count, places, rest))


def _cuts(cursor: Cursor) -> bytes:
    cuts = bytes(cursor.take(cursor.byte()))
    if not 0 < len(cuts) < MAX_GROUPS or any(a >= b for a, b in pairwise(cuts)):
        raise PatchCorrupt("cuts out of order")
    return cuts


def _by_leader(cursor: Cursor, context: FieldContext) -> list[Units]:
    leader = context.leaders.get(cursor.byte())
    if leader is None or context.count % context.units:
        raise PatchCorrupt("no such leader")
    cuts = _cuts(cursor)
    return unit_groups(leader_classes(leader, context.units), cuts, context.count // context.units)


def leader_classes(leader: Symbols, units: int) -> Symbols:
    """Per unit, the bit length of the largest symbol of the leading field, 15 at most."""
    per_unit = leader.reshape(units, -1)
    largest = per_unit[:, 0] if per_unit.shape[1] == 1 else per_unit.max(axis=1)
    largest = np.minimum(largest, (1 << MAX_CLASS) - 1)
    # The exponent of a float32 is the bit length of the integer it was made from; of zero it is none at all.
    lengths = np.maximum(largest.astype(np.float32).view(np.int32) >> 23, 126)
    return np.asarray((lengths - 126).astype(np.uint8))


def exponent_units(element: Element, old: Bytes, cuts: bytes) -> list[Units]:
    """Each value as a unit of its own, by the exponent of the old one."""
    return unit_groups(key_of(element, old), cuts, 1)


def unit_groups(classes: Symbols, cuts: bytes, size: int) -> list[Units]:
    """The units of classes below the first cut, from it to the next, and so on; each ascending."""
    numbers = np.zeros(len(classes), np.uint8)
    for cut in cuts:
        numbers += (classes >= cut).view(np.uint8)
    order = np.argsort(numbers, kind="stable")
    later = np.arange(1, len(cuts) + 1, dtype=np.uint8)
    ends = [*np.searchsorted(numbers, later, sorter=order).tolist(), len(order)]
    return [Units(size, order[begin:end]) for begin, end in pairwise([0, *ends])]
