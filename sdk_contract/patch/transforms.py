"""Elements: how two values of one type become a small number, and back (see `README.md`, "Elements").

Every map is exact and works on the bits; no floating-point arithmetic takes part, so `-0.0`, infinities
and NaN payloads survive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.codecs import Run, Symbols
from sdk_contract.patch.places import Places

# Above one changed value in six, touching all of them costs less than finding the changed ones.
SPARSE_PART = 6

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


class Element(IntEnum):
    """The kinds of values that differences are taken of."""

    INT8 = 1
    INT4 = 2
    BF16 = 3
    F16 = 4
    F32 = 5
    INT16 = 6
    INT32 = 7
    XOR8 = 8


@dataclass(frozen=True, slots=True)
class _Kind:
    width: int
    signed: str
    exponent_shift: int | None = None
    exponent_mask: int = 0xFF


_KINDS = {
    Element.INT8: _Kind(1, "<i1"),
    Element.INT4: _Kind(1, "<i1"),
    Element.BF16: _Kind(2, "<i2", 7),
    Element.F16: _Kind(2, "<i2", 10, 0x1F),
    Element.F32: _Kind(4, "<i4", 23),
    Element.INT16: _Kind(2, "<i2"),
    Element.INT32: _Kind(4, "<i4"),
    Element.XOR8: _Kind(1, "<i1"),
}


def width(element: Element) -> int:
    """Bytes of one stored value; two int4 values share one."""
    return _KINDS[element].width


def symbols_per_byte(element: Element) -> tuple[int, int]:
    """Symbols made of how many bytes: `(2, 1)` for int4, `(1, 4)` for float32."""
    return (2, 1) if element is Element.INT4 else (1, _KINDS[element].width)


def dtype_of(element: Element) -> "np.dtype[np.unsignedinteger[Any]]":
    """The unsigned type of an element's symbols."""
    return np.dtype(f"<u{_KINDS[element].width}")


def has_key(element: Element) -> bool:
    """Whether differences can be grouped by the old value's exponent."""
    return _KINDS[element].exponent_shift is not None


def key_of(element: Element, old: Bytes) -> Bytes:
    """The exponent field of each old value, as a byte.

    Args:
        element: one with an exponent.
        old: the old values' bytes, contiguous.
    """
    kind = _KINDS[element]
    if kind.exponent_shift is None:
        raise ValueError(f"{element.name} has no exponent")
    words: Words = old.view(dtype_of(element))
    keys: Bytes = np.empty(len(words), np.uint8)
    # Written as bytes at once, a cache's worth at a time.
    np.right_shift(words, words.dtype.type(kind.exponent_shift), out=keys, casting="unsafe")
    if kind.exponent_mask != 0xFF:
        keys &= np.uint8(kind.exponent_mask)  # the sign; where the exponent has eight bits it is the ninth
    return keys


def exponent_groups(element: Element, old: Bytes, cuts: bytes) -> Bytes:
    """For each old value, how many of the cuts are at most its exponent field.

    Args:
        element: one with an exponent.
        old: the old values' bytes, contiguous.
        cuts: exponents, at least one.
    """
    keys = key_of(element, old)
    numbers: Bytes = (keys >= np.uint8(cuts[0])).view(np.uint8)
    reached = np.empty(len(keys), np.bool_)
    # Small numbers never carry, and NumPy adds words twice as fast as bytes.
    item = np.dtype("<u8") if len(keys) % 8 == 0 else np.dtype("<u1")
    totals, ones = numbers.view(item), reached.view(item)
    for cut in cuts[1:]:
        np.greater_equal(keys, np.uint8(cut), out=reached)
        totals += ones
    return numbers


def difference(element: Element, old: Bytes, new: Bytes) -> Words:
    """Symbols that are small where `new` is near `old`; both contiguous and of equal length."""
    return _DIFFERENCE[element](element, old, new)


def differences(element: Element, old: Bytes, new: Bytes) -> Run:
    """The same as `difference`, as a run: sparse where few values changed, so that the rest costs nothing.

    Args:
        element: the kind of the values.
        old: the old values' bytes, contiguous.
        new: the new values' bytes, as many.
    """
    dtype = dtype_of(element)
    before, after = old.view(dtype), new.view(dtype)
    if has_key(element):
        return Run(len(before), None, difference(element, old, new))  # grouping wants them all
    count = len(before) * (2 if element is Element.INT4 else 1)
    differ = before != after
    if SPARSE_PART * np.count_nonzero(differ) > len(before):
        return Run(count, None, difference(element, old, new))
    places = np.flatnonzero(differ)
    values = difference(element, before[places].view(np.uint8), after[places].view(np.uint8))
    if element is Element.INT4:
        places = np.stack((2 * places, 2 * places + 1), axis=1).reshape(-1)
        kept = np.flatnonzero(values != 0)  # of booleans it is five times as fast
        return Run(count, places.take(kept), values.take(kept))
    return Run(count, places, values)


def restore(element: Element, base: Bytes, run: Run, *, forward: bool = True) -> Bytes:
    """The inverse of `difference`: new values from old ones, or old ones from new ones.

    Args:
        element: the kind of the values.
        base: the old values' bytes, or with `forward` false the new ones', contiguous.
        run: the symbols; where few are not zero only those values are touched.
        forward: whether the symbols are added or taken away.
    """
    sign = 1 if forward else -1
    if run.places is None or SPARSE_PART * len(run.places) > run.count:
        symbols = run.values if run.rest is not None else run.dense()
        result = _RESTORE[element](element, base, symbols, sign)
    else:
        result = base.copy()
        _touch(element, result, run.places, run.values, sign)
    if run.rest is not None and run.rest.places is not None:
        _touch(element, result, run.rest.places, run.rest.values, sign)
    return result


def _touch(element: Element, result: Bytes, places: Places, symbols: Symbols, sign: int) -> None:
    """Undo some symbols where they are, the others being zero."""
    if element is Element.INT4:
        _touch_nibbles(result, places, symbols, sign)
        return
    words: Words = result.view(dtype_of(element))
    if element in _WORDS:
        # In one walk instead of there and back; places are ascending, so none is there twice.
        made_at = np.add.at if sign > 0 else np.subtract.at
        made_at(words, places, _delta(symbols, words.dtype))
        return
    touched = np.ascontiguousarray(words[places]).view(np.uint8)
    made = _RESTORE[element](element, touched, symbols, sign)
    words[places] = made.view(words.dtype)


def _touch_nibbles(result: Bytes, places: Places, symbols: Symbols, sign: int) -> None:
    half = places >> 1
    codes: Bytes = symbols.astype(np.uint8) << ((places & 1).astype(np.uint8) << np.uint8(2))
    # The nibbles of one byte are neighbours here; the later one brings both, and is the last to be written.
    codes[1:] |= codes[:-1] * (half[1:] == half[:-1]).view(np.uint8)
    result[half] = _add_nibbles(result[half], codes, sign)


def _zigzag(delta: Words, kind: _Kind) -> Words:
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
    return _zigzag(new.view(dtype) - old.view(dtype), _KINDS[element])


def _integer_restore(element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    words: Words = base.view(dtype_of(element))
    delta, made = _unzigzag(symbols), np.add if sign > 0 else np.subtract
    if delta.itemsize == words.itemsize:
        return np.asarray(made(words, delta, out=delta)).view(np.uint8)  # `delta` is ours, and in the cache
    wide, narrow = words.view(_KINDS[element].signed), delta.view(f"<i{delta.itemsize}")
    return np.asarray(made(wide, narrow)).view(np.uint8)


def _delta(symbols: Words, dtype: "np.dtype[np.unsignedinteger[Any]]") -> Words:
    """What symbols add to numbers that may be wider than they; a new array."""
    delta = _unzigzag(symbols)
    if delta.itemsize < dtype.itemsize:
        delta = delta.view(f"<i{delta.itemsize}").astype(f"<i{dtype.itemsize}").view(dtype)
    return delta


def _nibble_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    # Both nibbles of a byte at once: a borrow is kept from the high one, then each is zigzagged.
    delta = ((new | 0x88) - (old & 0x77)) ^ ((new ^ ~old) & 0x88)
    codes = ((delta << 1) & 0xEE) ^ (((delta >> 3) & 0x11) * np.uint8(15))
    pairs = codes.astype("<u2")
    return np.asarray((pairs | (pairs << 4)) & 0x0F0F).view(np.uint8)


def _nibble_restore(_element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    pairs = symbols.view("<u2")
    codes = ((pairs >> 4) | pairs).astype(np.uint8)
    return _add_nibbles(base, codes, sign)


def _add_nibbles(base: Bytes, codes: Bytes, sign: int) -> Bytes:
    """Both symbols of each byte undone at once: carries are kept out of the high half."""
    delta = ((codes >> 1) & 0x77) ^ ((codes & 0x11) * np.uint8(15))
    if sign > 0:
        return np.asarray(((base & 0x77) + (delta & 0x77)) ^ ((base ^ delta) & 0x88))
    return np.asarray(((base | 0x88) - (delta & 0x77)) ^ ((base ^ ~delta) & 0x88))


def _xor_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    return np.asarray(old ^ new)


def _xor_restore(_element: Element, base: Bytes, symbols: Words, _sign: int) -> Bytes:
    return np.asarray(base ^ symbols.view(np.uint8))


_WORDS = (Element.INT8, Element.INT16, Element.INT32, Element.BF16, Element.F16, Element.F32)
_DIFFERENCE: dict[Element, Callable[[Element, Bytes, Bytes], Words]] = {
    **dict.fromkeys(_WORDS, _integer_difference),
    Element.INT4: _nibble_difference,
    Element.XOR8: _xor_difference,
}
_RESTORE: dict[Element, Callable[[Element, Bytes, Words, int], Bytes]] = {
    **dict.fromkeys(_WORDS, _integer_restore),
    Element.INT4: _nibble_restore,
    Element.XOR8: _xor_restore,
}
