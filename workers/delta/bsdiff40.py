"""Export as classic `BSDIFF40`: the tensor map as control triples, so that any `bspatch` applies it.

The three parts are bzip2 streams behind a 32-byte header; numbers are 8 bytes, little-endian, sign and
magnitude (bsdiff 4.3, Colin Percival). A triple adds `add` source bytes to as many difference bytes, takes
`insert` literal bytes, and then moves the source position by `seek`.
"""

import bz2
import hashlib
import struct
import tempfile
import time
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from sdk_contract.patch.plan import LaneKind
from workers.delta.align import Alignment, Piece
from workers.delta.blocks import cut_blocks
from workers.delta.bsdiff import SIGN, triples
from workers.delta.build import read_or_opaque
from workers.delta.digests import CHUNK, DigestAlong
from workers.delta.layouts.layout import RangeReader

MAGIC = b"BSDIFF40"


@dataclass(frozen=True, slots=True)
class ExportedPatch:
    """A `BSDIFF40` patch that was written; sizes in bytes, digests of 32 bytes."""

    source_size: int
    source_sha256: bytes
    target_size: int
    target_sha256: bytes
    patch_size: int
    patch_sha256: bytes
    seconds: float
    ops: dict[str, int]


def export_bsdiff40(source: RangeReader, target: RangeReader, out: BinaryIO) -> ExportedPatch:
    """Write the patch that takes `source` to `target` for devices that only have `bspatch`.

    Args:
        source: the old file.
        target: the new file.
        out: where the patch goes; written once from start to end.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    started = time.perf_counter()
    alignment = Alignment(source, read_or_opaque(source), target, read_or_opaque(target))
    source_digest, target_digest = DigestAlong(source), hashlib.sha256()
    with (
        tempfile.TemporaryFile() as control,
        tempfile.TemporaryFile() as added,
        tempfile.TemporaryFile() as extra,
    ):
        parts = (_Stream(control), _Stream(added), _Stream(extra))
        triples_out = _Triples(*parts)
        for piece in (piece for block in cut_blocks(alignment.pieces()) for piece in block):
            old = source.read(piece.source_offset, piece.source_size)
            new = target.read(piece.target_offset, piece.size)
            source_digest.add(piece.source_offset, memoryview(old))
            target_digest.update(new)
            triples_out.add(piece, old, new)
        triples_out.finish()
        sizes = [part.finish() for part in parts]
        head = MAGIC + _number(sizes[0]) + _number(sizes[1]) + _number(target.size)
        patch_sha256 = _join(head, (control, added, extra), out)
    return ExportedPatch(
        source_size=source.size,
        source_sha256=source_digest.finish(),
        target_size=target.size,
        target_sha256=target_digest.digest(),
        patch_size=len(head) + sum(sizes),
        patch_sha256=patch_sha256,
        seconds=time.perf_counter() - started,
        ops=triples_out.ops,
    )


@dataclass(slots=True)
class _Stream:
    """A bzip2 stream that grows in a file."""

    file: BinaryIO
    compressor: bz2.BZ2Compressor = field(default_factory=bz2.BZ2Compressor)

    def write(self, data: bytes) -> None:
        self.file.write(self.compressor.compress(data))

    def finish(self) -> int:
        self.file.write(self.compressor.flush())
        return self.file.tell()


@dataclass(slots=True)
class _Triples:
    """Control triples; the last one waits, because its seek is known when the next one begins."""

    control: _Stream
    added: _Stream
    extra: _Stream
    ops: dict[str, int] = field(default_factory=dict)
    position: int = 0
    last: tuple[int, int] = (0, 0)

    def add(self, piece: Piece, old: bytes, new: bytes) -> None:
        """One piece of the target."""
        kind = LaneKind.LITERAL if not piece.source_size else piece.lane.kind
        self.ops[kind.name.lower()] = self.ops.get(kind.name.lower(), 0) + len(new)
        if kind is LaneKind.LITERAL:
            self._triple(self.position, 0, new)
        elif kind is LaneKind.DELTA:
            difference = np.frombuffer(new, np.uint8) - np.frombuffer(old, np.uint8)
            self.added.write(difference.tobytes())
            self._triple(piece.source_offset, len(new), b"")
        else:
            self._searched(piece.source_offset, old, new)

    def finish(self) -> None:
        """Write the triple that still waits."""
        self._flush(0)

    def _searched(self, begin: int, old: bytes, new: bytes) -> None:
        found, differences, literals = triples(old, new)
        self.added.write(differences)
        taken = 0
        for add, insert, seek in found:
            self._triple(begin, add, literals[taken : taken + insert])
            taken += insert
            begin += add + seek

    def _triple(self, begin: int, add: int, literal: bytes) -> None:
        self._flush(begin - self.position)
        self.extra.write(literal)
        self.last, self.position = (add, len(literal)), begin + add

    def _flush(self, seek: int) -> None:
        if self.last != (0, 0) or seek:
            self.control.write(_number(self.last[0]) + _number(self.last[1]) + _number(seek))


def _number(value: int) -> bytes:
    return struct.pack("<Q", value if value >= 0 else -value | SIGN)


def _join(head: bytes, files: tuple[BinaryIO, ...], out: BinaryIO) -> bytes:
    digest = hashlib.sha256(head)
    out.write(head)
    for file in files:
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.digest()
