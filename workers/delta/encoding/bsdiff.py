"""bsdiff, for bytes outside tensors: headers, tokenizers, graphs, unknown formats."""

import struct

import bsdiff4.core

from workers.delta.encoding.run_coding import encode_blob, encode_signed_varint, encode_varint

ZSTD_LEVEL = 19
_TRIPLE = struct.Struct("<QQQ")
SIGN_BIT = 1 << 63


def diff(source: bytes, target: bytes) -> tuple[list[tuple[int, int, int]], bytes, bytes]:
    """Run bsdiff; return the control triples (add, insert, seek), the differences and the literals."""
    control, differences, literals = bsdiff4.core.diff(source, target)
    triples = [
        (_decode_number(add), _decode_number(insert), _decode_number(seek))
        for add, insert, seek in _TRIPLE.iter_unpack(control)
    ]
    return triples, differences, literals


def _decode_number(word: int) -> int:
    """Decode a number of bsdiff: sign and magnitude, not two's complement."""
    return -(word & ~SIGN_BIT) if word & SIGN_BIT else word


def encode_bsdiff(source: bytes, target: bytes) -> bytes:
    """Encode a segment for `sdk_contract.patch.payload.bsdiff.decode_bsdiff`."""
    triples, differences, literals = diff(source, target)
    control = b"".join(
        encode_varint(add) + encode_varint(insert) + encode_signed_varint(seek)
        for add, insert, seek in triples
    )
    front = encode_varint(len(triples)) + encode_varint(len(control))
    blobs = (encode_blob(part, level=ZSTD_LEVEL) for part in (control, differences, literals))
    return front + b"".join(blobs)
