"""Values grouped by their old exponents, four by four (see `README.md`, "Groups").

Every value has a group of its own, but what is put into order is quads of neighbours, by the groups of all four:
an applier that sorts has a quarter as much to sort and to move as there are values. Each value is a token of one byte.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sdk_contract.patch.codecs import Places
from sdk_contract.patch.transforms import Bytes, Element, Words, exponent_groups

MAX_QUAD_GROUPS = 4
QUAD = 4
CLASSES = MAX_QUAD_GROUPS**QUAD
# What does not fit into a byte is announced by the largest number that does.
TOKEN_ESCAPE = 255
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
        parts: list[list[Bytes]] = [[groups[0][:0]] for _ in range(QUAD)]
        taken = [0] * self.groups
        for side, group, begin, end in self.slices:
            at = taken[group]
            taken[group] = at + end - begin
            parts[side].append(groups[group][at : taken[group]])
        tokens: Words = np.empty(len(self.order), "<u4")
        tokens[self.order] = _interleaved([np.concatenate(part) for part in parts])
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


def _interleaved(sides: list[Bytes]) -> Words:
    """Four arrays of bytes as one of quads, the first lowest."""
    low, high = (_joined(sides[at], sides[at + 1], "<u2") for at in (0, 2))
    return _joined(low, high, "<u4")


def _joined(low: Words, high: Words, dtype: str) -> Words:
    """Two arrays as one of numbers twice as wide."""
    words: Words = high.astype(dtype)
    words <<= 8 * low.itemsize
    words |= low
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
    twos = numbers.view("<u2")
    pairs = (twos | (twos >> 6)).astype(np.uint8).view("<u2")
    classes = (pairs | (pairs >> 4)).astype(np.uint8)
    order = np.argsort(classes, kind="stable")
    ends = np.searchsorted(classes, np.arange(1, CLASSES, dtype=np.uint8), sorter=order)
    return Quads(len(cuts) + 1, order, _slices([*ends.tolist(), len(order)]))
