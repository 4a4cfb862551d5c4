"""Decoding one field of a delta lane: its symbols in groups of like spread (see `README.md`, "Groups")."""

from dataclasses import dataclass

import numpy as np

from sdk_contract.patch.codecs import Dtype, Symbols, read_run
from sdk_contract.patch.cursor import Cursor
from sdk_contract.patch.errors import NotReversible, PatchCorrupt, PatchUnsupported
from sdk_contract.patch.transforms import Bytes, Element, dtype_of, has_key, key_of, symbols_per_byte

BY_EXPONENT = 1
BY_TILE = 2
MAX_GROUPS = 64
MIN_TILE = 16


@dataclass(frozen=True, slots=True)
class _Tiles:
    size: int
    classes: Bytes
    highest: int


def symbol_count(element: Element, size: int) -> int:
    """Symbols that `size` bytes of an element have."""
    symbols, bytes_ = symbols_per_byte(element)
    return size * symbols // bytes_


def read_field(cursor: Cursor, element: Element, old: Bytes | None, size: int) -> Symbols:
    """The symbols of one field, in the order of the values.

    Args:
        cursor: where the field's data starts.
        element: the kind of its values.
        old: the old values' bytes; None when only the new ones are known (`apply --reverse`).
        size: bytes of the field in all units together.

    Raises:
        PatchCorrupt: a rule is broken.
        PatchUnsupported: unknown grouping.
        NotReversible: groups by the old value, which is not known.
    """
    count, dtype = symbol_count(element, size), dtype_of(element)
    flags = cursor.byte()
    if flags & ~(BY_EXPONENT | BY_TILE):
        raise PatchUnsupported(f"grouping {flags:#x}")
    cuts = _read_cuts(cursor, element) if flags & BY_EXPONENT else None
    tiles = _read_tiles(cursor, count) if flags & BY_TILE else None
    if cuts is not None:
        if old is None:
            raise NotReversible("differences grouped by the old value")
        return _by_key(cursor, _keys(element, old, cuts, tiles), dtype)
    if tiles is not None:
        return _by_tile(cursor, tiles, count, dtype)
    return read_run(cursor, count, dtype)


def _read_cuts(cursor: Cursor, element: Element) -> Bytes:
    if not has_key(element):
        raise PatchCorrupt(f"{element.name} has no exponent")
    cuts = np.frombuffer(cursor.take(cursor.byte()), np.uint8)
    if not 0 < len(cuts) < MAX_GROUPS or np.any(cuts[1:] <= cuts[:-1]):
        raise PatchCorrupt("exponent cuts out of order")
    return cuts


def _read_tiles(cursor: Cursor, count: int) -> _Tiles:
    size = cursor.varint()
    if not MIN_TILE <= size <= count:
        raise PatchCorrupt(f"tiles of {size} symbols")
    classes = read_run(cursor, count // size, np.dtype("<u1"))
    highest = int(classes.max())
    if highest >= MAX_GROUPS:
        raise PatchCorrupt(f"{highest + 1} classes of tiles")
    return _Tiles(size, classes.astype(np.uint8, copy=False), highest)


def _keys(element: Element, old: Bytes, cuts: Bytes, tiles: _Tiles | None) -> Bytes:
    table = np.searchsorted(cuts, np.arange(256), side="right").astype(np.uint8)
    keys = np.take(table, key_of(element, old))
    if tiles is None:
        return keys
    groups = len(cuts) + 1
    if groups * (tiles.highest + 1) > MAX_GROUPS:
        raise PatchCorrupt("too many groups")
    whole = len(tiles.classes) * tiles.size
    keys[:whole].reshape(-1, tiles.size)[...] += (tiles.classes * np.uint8(groups))[:, None]
    return keys


def _by_key(cursor: Cursor, keys: Bytes, dtype: Dtype) -> Symbols:
    order = np.argsort(keys, kind="stable")
    parts: list[Symbols] = []
    left = len(keys)
    for group in range(MAX_GROUPS):
        if not left:
            break
        members = int(np.count_nonzero(keys == group))
        left -= members
        if members:
            parts.append(read_run(cursor, members, dtype))
    symbols: Symbols = np.empty(len(keys), dtype)
    if parts:
        symbols[order] = np.concatenate(parts)
    return symbols


def _by_tile(cursor: Cursor, tiles: _Tiles, count: int, dtype: Dtype) -> Symbols:
    symbols: Symbols = np.empty(count, dtype)
    whole = len(tiles.classes) * tiles.size
    body = symbols[:whole].reshape(-1, tiles.size)
    for group in range(tiles.highest + 1):
        members = np.flatnonzero(tiles.classes == group)
        # What is behind the last whole tile belongs to the first group.
        tail = count - whole if group == 0 else 0
        run = read_run(cursor, len(members) * tiles.size + tail, dtype)
        body[members] = run[: len(members) * tiles.size].reshape(-1, tiles.size)
        if tail:
            symbols[whole:] = run[len(run) - tail :]
    return symbols
