"""Element types: convert two values into a small symbol, and back (see `README.md`, "Delta lanes").

Every conversion is exact and works on the bits without floating-point arithmetic, so `-0.0`, infinities and NaN payloads
are preserved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.payload.runs import Run, Symbols
from sdk_contract.patch.payload.sparse_indices import Indices

# If more than one in this many values changed, processing all values is faster than selecting the changed ones.
SPARSE_RATIO = 6

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


class Element(IntEnum):
    """The element types for differences."""

    INT8 = 1
    INT4 = 2
    BF16 = 3
    F16 = 4
    F32 = 5
    INT16 = 6
    INT32 = 7
    XOR8 = 8


@dataclass(frozen=True, slots=True)
class _ElementType:
    width: int
    signed: str
    exponent_shift: int | None = None
    exponent_mask: int = 0xFF


_ELEMENT_TYPES = {
    Element.INT8: _ElementType(1, "<i1"),
    Element.INT4: _ElementType(1, "<i1"),
    Element.BF16: _ElementType(2, "<i2", 7),
    Element.F16: _ElementType(2, "<i2", 10, 0x1F),
    Element.F32: _ElementType(4, "<i4", 23),
    Element.INT16: _ElementType(2, "<i2"),
    Element.INT32: _ElementType(4, "<i4"),
    Element.XOR8: _ElementType(1, "<i1"),
}


def width(element: Element) -> int:
    """Bytes of one stored value; two int4 values share one byte."""
    return _ELEMENT_TYPES[element].width


def symbols_per_byte(element: Element) -> tuple[int, int]:
    """Ratio of symbols to bytes: `(2, 1)` for int4, `(1, 4)` for float32."""
    return (2, 1) if element is Element.INT4 else (1, _ELEMENT_TYPES[element].width)


def dtype_of(element: Element) -> "np.dtype[np.unsignedinteger[Any]]":
    """The unsigned NumPy type of an element's symbols."""
    return np.dtype(f"<u{_ELEMENT_TYPES[element].width}")


def has_exponent(element: Element) -> bool:
    """Whether the element is a float, so that differences can be grouped by the old value's exponent."""
    return _ELEMENT_TYPES[element].exponent_shift is not None


def exponents_of(element: Element, old: Bytes) -> Bytes:
    """The exponent bits of each old value, as a byte.

    Args:
        element: an element type with an exponent.
        old: bytes of the old values, contiguous.
    """
    kind = _ELEMENT_TYPES[element]
    if kind.exponent_shift is None:
        raise ValueError(f"{element.name} has no exponent")
    words: Words = old.view(dtype_of(element))
    keys: Bytes = np.empty(len(words), np.uint8)
    # The output is written as bytes directly, which saves a pass over the words.
    np.right_shift(words, words.dtype.type(kind.exponent_shift), out=keys, casting="unsafe")
    if kind.exponent_mask != 0xFF:
        keys &= np.uint8(kind.exponent_mask)  # removes the sign; an exponent of eight bits has none left
    return keys


def exponent_groups(element: Element, old: Bytes, cuts: bytes) -> Bytes:
    """The group of each old value: the number of cuts that are at most its exponent.

    Args:
        element: an element type with an exponent.
        old: bytes of the old values, contiguous.
        cuts: exponents, at least one.
    """
    keys = exponents_of(element, old)
    numbers: Bytes = (keys >= np.uint8(cuts[0])).view(np.uint8)
    reached = np.empty(len(keys), np.bool_)
    # Small numbers never carry into the next byte, and NumPy adds words twice as fast as bytes.
    item = np.dtype("<u8") if len(keys) % 8 == 0 else np.dtype("<u1")
    totals, ones = numbers.view(item), reached.view(item)
    for cut in cuts[1:]:
        np.greater_equal(keys, np.uint8(cut), out=reached)
        totals += ones
    return numbers


def dense_differences(element: Element, old: Bytes, new: Bytes) -> Words:
    """Compute symbols, which are small where `new` is near `old`. Both arrays are contiguous and of equal length."""
    return _DIFFERENCE[element](element, old, new)


def differences(element: Element, old: Bytes, new: Bytes) -> Run:
    """Compute symbols as a run, which is sparse if few values changed.

    Args:
        element: element type of the values.
        old: bytes of the old values, contiguous.
        new: bytes of the new values, of equal length.
    """
    dtype = dtype_of(element)
    before, after = old.view(dtype), new.view(dtype)
    if has_exponent(element):
        return Run(len(before), None, dense_differences(element, old, new))  # a grouping needs every symbol
    count = len(before) * (2 if element is Element.INT4 else 1)
    differ = before != after
    if SPARSE_RATIO * np.count_nonzero(differ) > len(before):
        return Run(count, None, dense_differences(element, old, new))
    indices = np.flatnonzero(differ)
    values = dense_differences(element, before[indices].view(np.uint8), after[indices].view(np.uint8))
    if element is Element.INT4:
        indices = np.stack((2 * indices, 2 * indices + 1), axis=1).reshape(-1)
        kept = np.flatnonzero(values != 0)  # five times faster on booleans
        return Run(count, indices.take(kept), values.take(kept))
    return Run(count, indices, values)


def restore(element: Element, base: Bytes, run: Run, *, forward: bool = True) -> Bytes:
    """Compute new values from old values and symbols, or old values from new ones.

    Args:
        element: element type of the values.
        base: bytes of the old values, or of the new values if `forward` is false; contiguous.
        run: the symbols; a sparse run changes only its own values.
        forward: whether the symbols are added or subtracted.
    """
    sign = 1 if forward else -1
    if run.indices is None or SPARSE_RATIO * len(run.indices) > run.count:
        symbols = run.values if run.overflow is not None else run.dense()
        result = _RESTORE[element](element, base, symbols, sign)
    else:
        result = base.copy()
        _restore_in_place(element, result, run.indices, run.values, sign)
    if run.overflow is not None and run.overflow.indices is not None:
        _restore_in_place(element, result, run.overflow.indices, run.overflow.values, sign)
    return result


def _restore_in_place(element: Element, result: Bytes, indices: Indices, symbols: Symbols, sign: int) -> None:
    """Apply the symbols at some indices, in place."""
    if element is Element.INT4:
        _restore_nibbles_in_place(result, indices, symbols, sign)
        return
    words: Words = result.view(dtype_of(element))
    if element in _INTEGER_ELEMENTS:
        # One pass instead of a gather and a scatter.
        apply_at = np.add.at if sign > 0 else np.subtract.at
        apply_at(words, indices, _signed_deltas(symbols, words.dtype))
        return
    selected = np.ascontiguousarray(words[indices]).view(np.uint8)
    restored = _RESTORE[element](element, selected, symbols, sign)
    words[indices] = restored.view(words.dtype)


def _restore_nibbles_in_place(result: Bytes, indices: Indices, symbols: Symbols, sign: int) -> None:
    half = indices >> 1
    codes: Bytes = symbols.astype(np.uint8) << ((indices & 1).astype(np.uint8) << np.uint8(2))
    # Two nibbles of one byte are adjacent here; the later one takes the codes of both, and is written last.
    codes[1:] |= codes[:-1] * (half[1:] == half[:-1]).view(np.uint8)
    result[half] = _add_nibbles(result[half], codes, sign)


def _zigzag(delta: Words, kind: _ElementType) -> Words:
    folded: Words = (delta.view(kind.signed) >> (8 * kind.width - 1)).view(delta.dtype)
    folded ^= delta << 1
    return folded


def _unzigzag(symbols: Words) -> Words:
    half = symbols >> 1
    sign = symbols & 1
    np.negative(sign, out=sign)
    half ^= sign
    return np.asarray(half)


def _integer_difference(element: Element, old: Bytes, new: Bytes) -> Words:
    dtype = dtype_of(element)
    return _zigzag(new.view(dtype) - old.view(dtype), _ELEMENT_TYPES[element])


def _integer_restore(element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    words: Words = base.view(dtype_of(element))
    delta, apply = _unzigzag(symbols), np.add if sign > 0 else np.subtract
    if delta.itemsize == words.itemsize:
        return np.asarray(apply(words, delta, out=delta)).view(
            np.uint8
        )  # reuses `delta`, which is in the cache
    wide, narrow = words.view(_ELEMENT_TYPES[element].signed), delta.view(f"<i{delta.itemsize}")
    return np.asarray(apply(wide, narrow)).view(np.uint8)


def _signed_deltas(symbols: Words, dtype: "np.dtype[np.unsignedinteger[Any]]") -> Words:
    """Convert symbols to signed differences of the given width, in a new array."""
    delta = _unzigzag(symbols)
    if delta.itemsize < dtype.itemsize:
        delta = delta.view(f"<i{delta.itemsize}").astype(f"<i{dtype.itemsize}").view(dtype)
    return delta


def _nibble_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    # Processes both nibbles of a byte at once: keeps the borrow out of the high nibble, then zigzags each.
    delta = ((new | 0x88) - (old & 0x77)) ^ ((new ^ ~old) & 0x88)
    codes = ((delta << 1) & 0xEE) ^ (((delta >> 3) & 0x11) * np.uint8(15))
    pairs = codes.astype("<u2")
    return np.asarray((pairs | (pairs << 4)) & 0x0F0F).view(np.uint8)


def _nibble_restore(_element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    pairs = symbols.view("<u2")
    codes = ((pairs >> 4) | pairs).astype(np.uint8)
    return _add_nibbles(base, codes, sign)


def _add_nibbles(base: Bytes, codes: Bytes, sign: int) -> Bytes:
    """Apply both symbols of each byte at once, and keep carries out of the high nibble."""
    delta = ((codes >> 1) & 0x77) ^ ((codes & 0x11) * np.uint8(15))
    if sign > 0:
        return np.asarray(((base & 0x77) + (delta & 0x77)) ^ ((base ^ delta) & 0x88))
    return np.asarray(((base | 0x88) - (delta & 0x77)) ^ ((base ^ ~delta) & 0x88))


def _xor_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    return np.asarray(old ^ new)


def _xor_restore(_element: Element, base: Bytes, symbols: Words, _sign: int) -> Bytes:
    return np.asarray(base ^ symbols.view(np.uint8))


_INTEGER_ELEMENTS = (Element.INT8, Element.INT16, Element.INT32, Element.BF16, Element.F16, Element.F32)
_DIFFERENCE: dict[Element, Callable[[Element, Bytes, Bytes], Words]] = {
    **dict.fromkeys(_INTEGER_ELEMENTS, _integer_difference),
    Element.INT4: _nibble_difference,
    Element.XOR8: _xor_difference,
}
_RESTORE: dict[Element, Callable[[Element, Bytes, Words, int], Bytes]] = {
    **dict.fromkeys(_INTEGER_ELEMENTS, _integer_restore),
    Element.INT4: _nibble_restore,
    Element.XOR8: _xor_restore,
}
