"""Values grouped by their old exponents, two by two (see `README.md`, "Groups").

Every value has a group of its own, but what is put into order is pairs of neighbours, by the groups of both:
half as many things to sort and to move as values, which is most of what grouping costs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.codecs import Places, Symbols
from sdk_contract.patch.transforms import Bytes, Element, exponent_groups

MAX_PAIRED_GROUPS = 16
GROUP_BITS = 4


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which pair stands where.

    Attributes:
        groups: how many groups the values are in.
        order: numbers of the pairs, sorted by class, those of one class ascending.
        ends: where each class ends in `order`; a class is the first value's group plus 16 times the second's.
    """

    groups: int
    order: Places
    ends: tuple[int, ...]

    def sizes(self) -> list[int]:
        """Values in each group."""
        sizes = [0] * self.groups
        for group, _, begin, end in self._slices():
            sizes[group] += end - begin
        return sizes

    def split(self, symbols: Symbols) -> list[Symbols]:
        """The symbols of each group, one per value; a last value without a partner gets a zero."""
        if len(symbols) % 2:
            symbols = np.append(symbols, symbols.dtype.type(0))
        sorted_pairs = _wide(symbols)[self.order].view(symbols.dtype).reshape(-1, 2)
        parts: list[list[Symbols]] = [[symbols[:0]] for _ in range(self.groups)]
        for group, side, begin, end in self._slices():
            parts[group].append(sorted_pairs[begin:end, side])
        return [np.concatenate(part) for part in parts]

    def merge(self, groups: list[Symbols]) -> Symbols:
        """The inverse of `split`, partner included."""
        dtype = groups[0].dtype
        sorted_pairs: Symbols = np.empty((len(self.order), 2), dtype)
        taken = [0] * self.groups
        for group, side, begin, end in self._slices():
            at = taken[group]
            taken[group] = at + end - begin
            sorted_pairs[begin:end, side] = groups[group][at : taken[group]]
        symbols: Symbols = np.empty(2 * len(self.order), dtype)
        _wide(symbols)[self.order] = _wide(sorted_pairs.reshape(-1))
        return symbols

    def _slices(self) -> Iterator[tuple[int, int, int, int]]:
        """Group, side of the pair, begin and end in `order`, as the values of a group follow each other."""
        begin = 0
        for number, end in enumerate(self.ends):
            if end > begin:
                yield number & (MAX_PAIRED_GROUPS - 1), 0, begin, end
                yield number >> GROUP_BITS, 1, begin, end
            begin = end


def pair_values(element: Element, old: Bytes, cuts: bytes) -> Pairs:
    """Pairs of the values whose old bytes these are.

    Args:
        element: one with an exponent.
        old: the old values' bytes, contiguous.
        cuts: ascending exponents at which a new group begins, at most 15.
    """
    numbers = exponent_groups(element, old, cuts)
    if len(numbers) % 2:
        numbers = np.append(numbers, np.uint8(0))
    both = numbers.view("<u2")
    classes = (both | (both >> GROUP_BITS)).astype(np.uint8)
    order = np.argsort(classes, kind="stable")
    later = np.arange(1, 256, dtype=np.uint8)
    ends = np.searchsorted(classes, later, sorter=order)
    return Pairs(len(cuts) + 1, order, (*ends.tolist(), len(order)))


def _wide(symbols: Symbols) -> npt.NDArray[np.unsignedinteger]:
    """Pairs as single numbers, which NumPy moves at once."""
    return symbols.view(f"<u{2 * symbols.dtype.itemsize}")
