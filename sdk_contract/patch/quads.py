"""Values grouped by their old exponents, four by four (see `README.md`, "Groups").

Every value has a group of its own, but what is put into order is quads of neighbours, by the groups of all four:
an applier that sorts has a quarter as much to sort and to move as there are values. Each value is a token of one byte.
"""

from dataclasses import dataclass
from itertools import accumulate
from operator import sub
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
_LATER = np.arange(1, CLASSES, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Quads:
    """Which quad stands where.

    Attributes:
        order: numbers of the quads, sorted by class, those of one class ascending.
        lengths: how many of the sorted quads share a group, in ranges: of the fourth sides, then of the third, and so
            on. The group of a range is its number modulo 4, and its tokens follow those of the range before in it.
    """

    order: Places
    lengths: list[int]

    def sizes(self) -> list[int]:
        """Values in each group."""
        return [sum(self.lengths[group::MAX_QUAD_GROUPS]) for group in range(MAX_QUAD_GROUPS)]

    def split(self, tokens: Bytes) -> list[Bytes]:
        """The tokens of each group.

        Args:
            tokens: one per value; missing ones of the last quad are zeros.
        """
        padded = np.zeros(QUAD * len(self.order), np.uint8)
        padded[: len(tokens)] = tokens
        sides = padded.view("<u4")[self.order].view(np.uint8).reshape(-1, QUAD).T[::-1].reshape(-1)
        ranges = np.split(sides, np.cumsum(self.lengths[:-1]))
        return [np.concatenate(ranges[group::MAX_QUAD_GROUPS]) for group in range(MAX_QUAD_GROUPS)]

    def merge(self, groups: list[Bytes]) -> Bytes:
        """The inverse of `split`: a new array, with what fills up the last quad."""
        ranges = [memoryview(b"")] * len(self.lengths)
        for group, members in enumerate(groups):
            ends = list(accumulate(self.lengths[group::MAX_QUAD_GROUPS], initial=0))
            # Of hundreds of short ranges, `memoryview` costs half of what arrays do.
            ranges[group::MAX_QUAD_GROUPS] = map(members.data.__getitem__, map(slice, ends, ends[1:]))
        sides = np.frombuffer(b"".join(ranges), np.uint8).reshape(QUAD, -1)
        tokens: Words = np.empty(len(self.order), "<u4")
        tokens[self.order] = _interleaved(sides[::-1])
        return tokens.view(np.uint8)


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
    ends = np.searchsorted(classes, _LATER, sorter=order)
    return Quads(order, _lengths([0, *ends.tolist(), len(order)]))


def _lengths(bounds: list[int]) -> list[int]:
    """`Quads.lengths`, from where each of the 256 classes begins and the last one ends.

    A class is the groups of its four values, two bits each, those of the first value lowest: ranges of higher sides
    are longer.
    """
    lengths: list[int] = []
    for side in reversed(range(QUAD)):
        begins = bounds[:: MAX_QUAD_GROUPS**side]
        lengths.extend(map(sub, begins[1:], begins))
    return lengths
