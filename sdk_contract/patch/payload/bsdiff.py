"""Decodes a bsdiff segment: add, insert and seek, with every range checked."""

import numpy as np
import zstandard

from sdk_contract.patch.errors import PatchCorrupt
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.elements import Bytes

MAX_TRIPLES = 1 << 16
CONTROL_BYTES_PER_TRIPLE = 30


def decode_bsdiff(
    cursor: Cursor, decompressor: zstandard.ZstdDecompressor, window: Bytes, target: Bytes
) -> None:
    """Fill `target` from a source window and the next three blobs of a payload.

    Args:
        cursor: at the segment's data: triples, differences and literals.
        decompressor: decompresses the blobs.
        window: the source bytes that the segment may read.
        target: is filled completely.

    Raises:
        PatchCorrupt: a triple exceeds the window or the target.
    """
    count, size = cursor.varint(), cursor.varint()
    if count > MAX_TRIPLES or size > count * CONTROL_BYTES_PER_TRIPLE:
        raise PatchCorrupt(f"{count} triples in {size} bytes")
    control = Cursor(cursor.blob(size), decompressor)
    triples = [(control.varint(), control.varint(), control.signed_varint()) for _ in range(count)]
    added, inserted = sum(t[0] for t in triples), sum(t[1] for t in triples)
    if control.remaining or added > len(target) or inserted != len(target) - added:
        raise PatchCorrupt("the triples do not add up to their segment")
    differences = np.frombuffer(cursor.blob(added), np.uint8)
    literals = np.frombuffer(cursor.blob(inserted), np.uint8)
    _apply_triples(triples, window, differences, literals, target)


def _apply_triples(
    triples: list[tuple[int, int, int]], window: Bytes, differences: Bytes, literals: Bytes, target: Bytes
) -> None:
    source = at = difference = literal = 0
    for add, insert, seek in triples:
        if not 0 <= source <= len(window) or add > len(window) - source:
            raise PatchCorrupt("a triple exceeds its window")
        np.add(
            window[source : source + add], differences[difference : difference + add], target[at : at + add]
        )
        source, difference, at = source + add + seek, difference + add, at + add
        target[at : at + insert] = literals[literal : literal + insert]
        literal, at = literal + insert, at + insert
