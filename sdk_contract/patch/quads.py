"""Values grouped by their old exponents, four by four (see `README.md`, "Groups").

Every value has a group of its own, but what is put into order is quads of neighbours, by the groups of all four:
an applier that sorts has a quarter as much to sort and to move as there are values. Each value is a token of one byte.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sdk_contract.patch.places import Places
from sdk_contract.patch.transforms import Bytes, Element, Words, exponent_groups

MAX_QUAD_GROUPS = 4
QUAD = 4
CLASSES = MAX_QUAD_GROUPS**QUAD
# What does not fit into a byte is announced by the largest number that does.
TOKEN_ESCAPE = 255
SIDE_BY_SIDE = np.uint32(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6)
Slice = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Quads:
    """Which quad stands where.

    Attributes:
        groups: how many groups the values are in.
        order: numbers of the quads, sorted by class, those of one class ascending.
        slices: side of the quad, group, begin and end in `order`, as the tokens of each group follow each other.
    """

    groups: int
    order: Places
    slices: list[Slice]

    def sizes(self) -> list[int]:
        """Values in each group."""
        sizes = [0] * self.groups
        for _, group, begin, end in self.slices:
            sizes[group] += end - begin
        return sizes

    def split(self, tokens: Bytes) -> list[Bytes]:
        """The tokens of each group.

        Args:
            tokens: one per value; missing ones of the last quad are zeros.
        """
        padded = np.zeros(QUAD * len(self.order), np.uint8)
        padded[: len(tokens)] = tokens
        sides = np.ascontiguousarray(padded.view("<u4")[self.order].view(np.uint8).reshape(-1, QUAD).T)
        parts: list[list[Bytes]] = [[tokens[:0]] for _ in range(self.groups)]
        for side, group, begin, end in self.slices:
            parts[group].append(sides[side, begin:end])
        return [np.concatenate(part) for part in parts]

    def merge(self, groups: list[Bytes]) -> Bytes:
        """The inverse of `split`: a new array, with what fills up the last quad."""
        # Of hundreds of short ranges, `memoryview` costs half of what arrays do.
        views = [group.data for group in groups]
        parts, taken = [], [0] * self.groups
        for _, group, begin, end in self.slices:
            at = taken[group]
            taken[group] = at + end - begin
            parts.append(views[group][at : taken[group]])
        sides = np.frombuffer(b"".join(parts), np.uint8).reshape(QUAD, -1)
        tokens: Words = np.empty(len(self.order), "<u4")
        tokens[self.order] = _interleaved(sides[::-1])
        return tokens.view(np.uint8)


def _slices(ends: list[int]) -> list[Slice]:
    """Ranges of quads one of whose sides is of one group; the higher a side, the longer they are.

    Args:
        ends: where each of the 256 classes ends; a class is the groups of its four values, two bits each, those
            of the first value lowest.
    """
    slices: list[Slice] = []
    for side in reversed(range(QUAD)):
        step = MAX_QUAD_GROUPS**side
        bounds = [0, *ends[step - 1 :: step]]
        slices += [
            (side, number % MAX_QUAD_GROUPS, begin, end)
            for number, (begin, end) in enumerate(pairwise(bounds))
            if end > begin
        ]
    return slices


def _interleaved(sides: Bytes) -> Words:
    """Four rows of bytes as one of quads, the first lowest."""
    low, high = (_joined(sides[at], sides[at + 1], np.dtype("<u2")) for at in (0, 2))
    return _joined(low, high, np.dtype("<u4"))


def _joined(low: Words, high: Words, dtype: "np.dtype[np.unsignedinteger[Any]]") -> Words:
    """Two arrays as one of numbers twice as wide."""
    words: Words = high * dtype.type(1 << 8 * low.itemsize)  # shifting takes longer
    words += low
    return words


def quads_of(element: Element, old: Bytes, cuts: bytes) -> Quads:
    """Quads of the values whose old bytes these are.

    Args:
        element: one with an exponent.
        old: the old values' bytes, contiguous.
        cuts: ascending exponents at which a new group begins, at most 3.
    """
    numbers = exponent_groups(element, old, cuts)
    if len(numbers) % QUAD:
        numbers = np.append(numbers, np.zeros(-len(numbers) % QUAD, np.uint8))
    # The highest byte of the product has the four numbers side by side; no two parts of it overlap.
    fours = numbers.view("<u4") * SIDE_BY_SIDE
    fours >>= np.uint32(24)
    classes = fours.astype(np.uint8)
    order = np.argsort(classes, kind="stable")
    ends = np.searchsorted(classes, np.arange(1, CLASSES, dtype=np.uint8), sorter=order)
    return Quads(len(cuts) + 1, order, _slices([*ends.tolist(), len(order)]))
