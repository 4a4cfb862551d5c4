"""bsdiff4 for what has no tensors: headers, tokenizers, graphs, unknown formats."""

import struct

import bsdiff4.core

from workers.delta.runs import blob, signed, varint

LEVEL = 19
_TRIPLE = struct.Struct("<QQQ")
SIGN = 1 << 63


def triples(source: bytes, target: bytes) -> tuple[list[tuple[int, int, int]], bytes, bytes]:
    """Control triples (add, insert, seek), differences and literals, as bsdiff finds them."""
    control, differences, literals = bsdiff4.core.diff(source, target)
    found = [
        (_number(add), _number(insert), _number(seek)) for add, insert, seek in _TRIPLE.iter_unpack(control)
    ]
    return found, differences, literals


def _number(word: int) -> int:
    """Numbers of bsdiff have sign and magnitude, not two's complement."""
    return -(word & ~SIGN) if word & SIGN else word


def encode_bsdiff(source: bytes, target: bytes) -> bytes:
    """A segment's data for `sdk_contract.patch.bsdiff.read_bsdiff`."""
    found, differences, literals = triples(source, target)
    control = b"".join(varint(add) + varint(insert) + signed(seek) for add, insert, seek in found)
    front = varint(len(found)) + varint(len(control))
    return front + blob(control, level=LEVEL) + blob(differences, level=LEVEL) + blob(literals, level=LEVEL)
