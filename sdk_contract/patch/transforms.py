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
    words: Words = old.view(dtype_of(element))
    if kind.exponent_shift is None:
        raise ValueError(f"{element.name} has no exponent")
    return np.asarray(((words >> kind.exponent_shift) & kind.exponent_mask).astype(np.uint8))


def difference(element: Element, old: Bytes, new: Bytes) -> Words:
    """Symbols that are small where `new` is near `old`; both contiguous and of equal length."""
    return _DIFFERENCE[element](element, old, new)


def restore(element: Element, old: Bytes, symbols: Words) -> Bytes:
    """The new values' bytes; the inverse of `difference`."""
    return _RESTORE[element](element, old, symbols, 1)


def restore_old(element: Element, new: Bytes, symbols: Words) -> Bytes:
    """The old values' bytes from the new ones; what a reversible patch does."""
    return _RESTORE[element](element, new, symbols, -1)


def _zigzag(delta: Words, kind: _Kind) -> Words:
    signed = delta.view(kind.signed)
    return np.asarray((delta << 1) ^ (signed >> (8 * kind.width - 1)).view(delta.dtype))


def _unzigzag(symbols: Words) -> Words:
    one = symbols.dtype.type(1)
    return np.asarray((symbols >> one) ^ (~(symbols & one) + one))


def _ordered(words: Words, kind: _Kind) -> Words:
    """Sign and magnitude to two's-complement order; its own inverse."""
    sign = words.view(kind.signed) >> (8 * kind.width - 1)
    mask = words.dtype.type((1 << (8 * kind.width - 1)) - 1)
    return np.asarray(words ^ (sign.view(words.dtype) & mask))


def _integer_difference(element: Element, old: Bytes, new: Bytes) -> Words:
    dtype = dtype_of(element)
    return _zigzag(new.view(dtype) - old.view(dtype), _KINDS[element])


def _integer_restore(element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    words, delta = base.view(dtype_of(element)), _unzigzag(symbols)
    return np.asarray(words + delta if sign > 0 else words - delta).view(np.uint8)


def _float_difference(element: Element, old: Bytes, new: Bytes) -> Words:
    kind, dtype = _KINDS[element], dtype_of(element)
    return _zigzag(_ordered(new.view(dtype), kind) - _ordered(old.view(dtype), kind), kind)


def _float_restore(element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    kind = _KINDS[element]
    words, delta = _ordered(base.view(dtype_of(element)), kind), _unzigzag(symbols)
    return _ordered(words + delta if sign > 0 else words - delta, kind).view(np.uint8)


def _nibble_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    low = (new - old) & 15
    high = ((new >> 4) - (old >> 4)) & 15
    pairs = _ZIGZAG4[low].astype("<u2") | (_ZIGZAG4[high].astype("<u2") << 8)
    return np.asarray(pairs).view(np.uint8)


def _nibble_restore(_element: Element, base: Bytes, symbols: Words, sign: int) -> Bytes:
    pairs = symbols.astype(np.uint8, copy=False).view("<u2")
    delta = _UNZIGZAG4[((pairs >> 4) | pairs).astype(np.uint8)]
    if sign < 0:
        delta = _NEGATE4[delta]
    # Both nibbles at once: the carry out of the low one is kept away from the high one.
    low = (base & 0x77) + (delta & 0x77)
    return np.asarray(low ^ ((base ^ delta) & 0x88))


def _xor_difference(_element: Element, old: Bytes, new: Bytes) -> Words:
    return np.asarray(old ^ new)


def _xor_restore(_element: Element, base: Bytes, symbols: Words, _sign: int) -> Bytes:
    return np.asarray(base ^ symbols.view(np.uint8))


def _nibble_tables() -> tuple[Bytes, Bytes, Bytes]:
    code = np.arange(16)
    zigzag = np.where(code < 8, code * 2, (16 - code) * 2 - 1).astype(np.uint8)
    back = np.argsort(zigzag).astype(np.uint8)
    low, high = np.arange(256) & 15, np.arange(256) >> 4
    both = (back[low] | (back[high] << 4)).astype(np.uint8)
    negated = (((-low) & 15) | (((-high) & 15) << 4)).astype(np.uint8)
    return zigzag, both, negated


_ZIGZAG4, _UNZIGZAG4, _NEGATE4 = _nibble_tables()

_FLOATS = (Element.BF16, Element.F16, Element.F32)
_INTEGERS = (Element.INT8, Element.INT16, Element.INT32)
_DIFFERENCE: dict[Element, Callable[[Element, Bytes, Bytes], Words]] = {
    **dict.fromkeys(_FLOATS, _float_difference),
    **dict.fromkeys(_INTEGERS, _integer_difference),
    Element.INT4: _nibble_difference,
    Element.XOR8: _xor_difference,
}
_RESTORE: dict[Element, Callable[[Element, Bytes, Words, int], Bytes]] = {
    **dict.fromkeys(_FLOATS, _float_restore),
    **dict.fromkeys(_INTEGERS, _integer_restore),
    Element.INT4: _nibble_restore,
    Element.XOR8: _xor_restore,
}
