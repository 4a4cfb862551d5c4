"""Groups values by their old exponents in quads of four neighbors (see `README.md`, "Groups").

Each value has its own group, but quads are sorted by the groups of all four values. An applier that sorts then sorts and
moves a quarter as many items as there are values. Each value is a token of one byte.
"""

from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import Any

import numpy as np

from sdk_contract.patch.payload.elements import Bytes, Element, Words, exponent_groups
from sdk_contract.patch.payload.sparse_indices import Indices

MAX_QUAD_GROUPS = 4
QUAD_SIZE = 4
CLASS_COUNT = MAX_QUAD_GROUPS**QUAD_SIZE
# Marks a symbol that does not fit into a byte.
TOKEN_ESCAPE = 255
GROUP_PACKING = np.uint32(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6)
_LATER_CLASSES = np.arange(1, CLASS_COUNT, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Quads:
    """The order of the tokens in the groups.

    Attributes:
        order: quad numbers, sorted by class and ascending within a class.
        range_lengths: lengths of the ranges of sorted quads whose value has the same group: first for the fourth values
            of the quads, then for the third, second and first. The group of a range is its number modulo 4; a group's
            tokens are those of its ranges in this order.
    """

    order: Indices
    range_lengths: list[int]

    def group_sizes(self) -> list[int]:
        """Number of values in each group."""
        return [sum(self.range_lengths[group::MAX_QUAD_GROUPS]) for group in range(MAX_QUAD_GROUPS)]

    def split(self, tokens: Bytes) -> list[Bytes]:
        """Split tokens into groups.

        Args:
            tokens: one per value; the last quad is filled with zeros.
        """
        padded = np.zeros(QUAD_SIZE * len(self.order), np.uint8)
        padded[: len(tokens)] = tokens
        positions = padded.view("<u4")[self.order].view(np.uint8).reshape(-1, QUAD_SIZE).T[::-1].reshape(-1)
        ranges = np.split(positions, np.cumsum(self.range_lengths[:-1]))
        return [np.concatenate(ranges[group::MAX_QUAD_GROUPS]) for group in range(MAX_QUAD_GROUPS)]

    def merge(self, groups: list[Bytes]) -> Bytes:
        """Merge the groups' tokens into the order of the values; the result includes the filling of the last quad."""
        ranges = [memoryview(b"")] * len(self.range_lengths)
        for group, members in enumerate(groups):
            ends = list(accumulate(self.range_lengths[group::MAX_QUAD_GROUPS], initial=0))
            # `memoryview` slices hundreds of short ranges in half the time of arrays.
            ranges[group::MAX_QUAD_GROUPS] = map(members.data.__getitem__, map(slice, ends, ends[1:]))
        positions = np.frombuffer(b"".join(ranges), np.uint8).reshape(QUAD_SIZE, -1)
        tokens: Words = np.empty(len(self.order), "<u4")
        tokens[self.order] = _interleave(positions[::-1])
        return tokens.view(np.uint8)


def _interleave(positions: Bytes) -> Words:
    """Interleave four rows of bytes into quads; the first row becomes the lowest byte."""
    low, high = (_widen_pairs(positions[at], positions[at + 1], np.dtype("<u2")) for at in (0, 2))
    return _widen_pairs(low, high, np.dtype("<u4"))


def _widen_pairs(low: Words, high: Words, dtype: "np.dtype[np.unsignedinteger[Any]]") -> Words:
    """Combine two arrays into one of numbers twice as wide."""
    words: Words = high * dtype.type(1 << 8 * low.itemsize)  # faster than a shift
    words += low
    return words


def group_in_quads(element: Element, old: Bytes, cuts: bytes) -> Quads:
    """Group values in quads by their old exponents.

    Args:
        element: an element type with an exponent.
        old: bytes of the old values, contiguous.
        cuts: ascending exponents at which a new group begins, at most 3.
    """
    numbers = exponent_groups(element, old, cuts)
    if len(numbers) % QUAD_SIZE:
        numbers = np.append(numbers, np.zeros(-len(numbers) % QUAD_SIZE, np.uint8))
    # The highest byte of the product contains the four group numbers, because its terms do not overlap.
    fours = numbers.view("<u4") * GROUP_PACKING
    fours >>= np.uint32(24)
    classes = fours.astype(np.uint8)
    order = np.argsort(classes, kind="stable")
    ends = np.searchsorted(classes, _LATER_CLASSES, sorter=order)
    return Quads(order, _range_lengths([0, *ends.tolist(), len(order)]))


def _range_lengths(bounds: list[int]) -> list[int]:
    """Compute `Quads.range_lengths` from the starts of the 256 classes and the end of the last one.

    A class has two bits for the group of each of its four values, the first value lowest.
    """
    lengths: list[int] = []
    for position in reversed(range(QUAD_SIZE)):
        begins = bounds[:: MAX_QUAD_GROUPS**position]
        lengths.extend(map(sub, begins[1:], begins))
    return lengths
