"""Export a patch as classic `BSDIFF40`, which any `bspatch` can apply.

The tensor alignment becomes control triples. A triple adds `add` source bytes to as many difference bytes, copies
`insert` literal bytes, and then moves the source position by `seek`. The file is a 32-byte header and three bzip2
streams; numbers are 8 bytes, little-endian, sign and magnitude (bsdiff 4.3, Colin Percival).
"""

import bz2
import hashlib
import struct
import tempfile
import time
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from sdk_contract.patch.payload.block_plan import LaneKind
from workers.delta.build import read_layout_or_opaque
from workers.delta.encoding.bsdiff import SIGN_BIT, diff
from workers.delta.layouts.layout import RangeReader
from workers.delta.matching.alignment import Alignment, Piece
from workers.delta.matching.blocks import split_into_blocks
from workers.delta.patch_file.source_digest import CHUNK_BYTES, InlineDigest

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
    """Write the patch from `source` to `target`, for devices that only have `bspatch`.

    Args:
        source: the old file.
        target: the new file.
        out: receives the patch, written once from start to end.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    started = time.perf_counter()
    alignment = Alignment(source, read_layout_or_opaque(source), target, read_layout_or_opaque(target))
    source_digest, target_digest = InlineDigest(source), hashlib.sha256()
    with (
        tempfile.TemporaryFile() as control,
        tempfile.TemporaryFile() as differences,
        tempfile.TemporaryFile() as literals,
    ):
        streams = (_Bzip2Stream(control), _Bzip2Stream(differences), _Bzip2Stream(literals))
        writer = _ControlWriter(*streams)
        for piece in (piece for block in split_into_blocks(alignment.pieces()) for piece in block):
            old = source.read(piece.source_offset, piece.source_size)
            new = target.read(piece.target_offset, piece.size)
            source_digest.add(piece.source_offset, memoryview(old))
            target_digest.update(new)
            writer.add(piece, old, new)
        writer.finish()
        sizes = [stream.finish() for stream in streams]
        head = MAGIC + _encode_number(sizes[0]) + _encode_number(sizes[1]) + _encode_number(target.size)
        patch_sha256 = _write_out(head, (control, differences, literals), out)
    return ExportedPatch(
        source_size=source.size,
        source_sha256=source_digest.finish(),
        target_size=target.size,
        target_sha256=target_digest.digest(),
        patch_size=len(head) + sum(sizes),
        patch_sha256=patch_sha256,
        seconds=time.perf_counter() - started,
        ops=writer.ops,
    )


@dataclass(slots=True)
class _Bzip2Stream:
    """A bzip2 stream that is written to a file."""

    file: BinaryIO
    compressor: bz2.BZ2Compressor = field(default_factory=bz2.BZ2Compressor)

    def write(self, data: bytes) -> None:
        self.file.write(self.compressor.compress(data))

    def finish(self) -> int:
        self.file.write(self.compressor.flush())
        return self.file.tell()


@dataclass(slots=True)
class _ControlWriter:
    """Writes control triples. Each is written after the next one begins, because only then its seek is known.

    Attributes:
        ops: target bytes per operation.
        position: source position after the pending triple.
        pending: `add` and `insert` of the triple that is not written yet.
    """

    control: _Bzip2Stream
    differences: _Bzip2Stream
    literals: _Bzip2Stream
    ops: dict[str, int] = field(default_factory=dict)
    position: int = 0
    pending: tuple[int, int] = (0, 0)

    def add(self, piece: Piece, old: bytes, new: bytes) -> None:
        """Add one piece of the target."""
        kind = LaneKind.LITERAL if not piece.source_size else piece.lane.kind
        self.ops[kind.name.lower()] = self.ops.get(kind.name.lower(), 0) + len(new)
        if kind is LaneKind.LITERAL:
            self._add_triple(self.position, 0, new)
        elif kind is LaneKind.DELTA:
            difference = np.frombuffer(new, np.uint8) - np.frombuffer(old, np.uint8)
            self.differences.write(difference.tobytes())
            self._add_triple(piece.source_offset, len(new), b"")
        else:
            self._add_bsdiff(piece.source_offset, old, new)

    def finish(self) -> None:
        """Write the pending triple."""
        self._write_pending(0)

    def _add_bsdiff(self, begin: int, old: bytes, new: bytes) -> None:
        triples, differences, literals = diff(old, new)
        self.differences.write(differences)
        used = 0
        for add, insert, seek in triples:
            self._add_triple(begin, add, literals[used : used + insert])
            used += insert
            begin += add + seek

    def _add_triple(self, begin: int, add: int, literal: bytes) -> None:
        self._write_pending(begin - self.position)
        self.literals.write(literal)
        self.pending, self.position = (add, len(literal)), begin + add

    def _write_pending(self, seek: int) -> None:
        if self.pending != (0, 0) or seek:
            self.control.write(b"".join(_encode_number(number) for number in (*self.pending, seek)))


def _encode_number(value: int) -> bytes:
    return struct.pack("<Q", value if value >= 0 else -value | SIGN_BIT)


def _write_out(head: bytes, files: tuple[BinaryIO, ...], out: BinaryIO) -> bytes:
    digest = hashlib.sha256(head)
    out.write(head)
    for file in files:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
    return digest.digest()
