"""Building a patch: align, cut, look at a sample, encode on several cores, write in order."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import BinaryIO

from sdk_contract.patch.container import pack_head
from sdk_contract.patch.heap import keep_heap
from sdk_contract.patch.plan import LaneKind
from workers.delta.align import Alignment, Piece
from workers.delta.blocks import BLOCK, SPARSE_BLOCK, cut_blocks
from workers.delta.coded import Coded
from workers.delta.cores import Cores
from workers.delta.digests import DigestAhead, DigestAlong, SourceDigest
from workers.delta.layouts import MalformedFile, read_layout
from workers.delta.layouts.layout import Layout, RangeReader
from workers.delta.notes import pack_notes
from workers.delta.predict import changed_share, predict_full_size, predict_patch_size
from workers.delta.writer import PatchWriter, TensorChange

CHUNK = 1 << 20
# Below this a device downloads either in one piece, and the estimate of the full size is mostly headers.
SMALL = 64 << 10
WORTH_IT = 0.8
# Smaller files are done before a prediction pays.
PREDICTED_FROM = 48
# Less than this share of the bytes changed: larger blocks.
SPARSE = 0.02
# Notes for people may not make a small patch large.
NOTES_SHARE = 0.025
# Bytes of the target that one core does in a second: of weights, and where bsdiff has to search.
CODED_PER_S, SEARCHED_PER_S = 150e6, 0.5e6
# Starting a process costs about 0.2 s; less work than this is done before it could help.
WORTH_PROCESSES_S = 0.5
Progress = Callable[[int, int], None]
Blocks = list[tuple[Piece, ...]]


@dataclass(frozen=True, slots=True)
class BuiltPatch:
    """A patch that was written, and what the signed descriptor says of it.

    Attributes:
        source_size, target_size, patch_size: bytes.
        source_sha256, target_sha256, patch_sha256, index_sha256: 32 bytes each.
        working_set: memory in bytes that applying needs.
        reversible: the patch also takes the target back to the source.
        seconds: wall time.
        ops: target bytes by what they are made from.
        tensors: per tensor of the target.
    """

    source_size: int
    source_sha256: bytes
    target_size: int
    target_sha256: bytes
    patch_size: int
    patch_sha256: bytes
    index_sha256: bytes
    working_set: int
    reversible: bool
    seconds: float
    ops: dict[str, int]
    tensors: tuple[TensorChange, ...]


@dataclass(frozen=True, slots=True)
class NotWorthIt:
    """The pair is too different: the full file costs the device about as much.

    Attributes:
        predicted_size: bytes that the patch has or would have.
        full_size: bytes of the compressed target, estimated from samples.
        seconds: what finding out took.
    """

    predicted_size: int
    full_size: int
    seconds: float


def build_patch(
    source: RangeReader,
    target: RangeReader,
    out: BinaryIO,
    *,
    threads: int = 2,
    reversible: bool = False,
    progress: Progress | None = None,
) -> BuiltPatch | NotWorthIt:
    """Write the patch that takes `source` to `target`.

    The same inputs give the same bytes, whatever the number of cores. Nothing is written to `out` when the
    pair is not worth it. Processes are started only for `LocalFile`s, which they can share, and only where
    there is work for them.

    Args:
        source: the old file.
        target: the new file.
        out: where the patch goes; written once from start to end.
        threads: cores used; all but one by processes of their own.
        reversible: keep to what the new file alone can undo; costs size on floating-point tensors.
        progress: called with target bytes done and target bytes in all.

    Raises:
        EncoderDied: a process that encodes ended before its work did.
        EOFError, OSError: a file cannot be read.
    """
    keep_heap()
    with Cores(source, target, threads) as cores:
        if target.size > WORTH_PROCESSES_S * CODED_PER_S:
            cores.start()
        with closing(_source_digest(cores)) as digest:
            return _build(cores, digest, out, reversible=reversible, progress=progress)


def _source_digest(cores: Cores) -> SourceDigest:
    return DigestAhead(cores.source) if cores.encoders else DigestAlong(cores.source)


def _build(
    cores: Cores, digest: SourceDigest, out: BinaryIO, *, reversible: bool, progress: Progress | None
) -> BuiltPatch | NotWorthIt:
    started, source, target = time.perf_counter(), cores.source, cores.target
    old, new = read_or_opaque(source), read_or_opaque(target)
    pieces = list(Alignment(source, old, target, new).pieces())
    block_size = SPARSE_BLOCK if changed_share(pieces, source, target) < SPARSE else BLOCK
    blocks = list(cut_blocks(pieces, block_size))
    most = int(WORTH_IT * predict_full_size(blocks, target)) if target.size > SMALL else None
    known: dict[int, Coded] = {}
    if most is not None and len(blocks) >= PREDICTED_FROM:
        guess, known = predict_patch_size(blocks, source, target, reversible=reversible)
        if guess > most:
            return NotWorthIt(guess, int(most / WORTH_IT), time.perf_counter() - started)
    if _searched_seconds(blocks) > WORTH_PROCESSES_S:
        cores.start()
    with tempfile.TemporaryFile() as spool:
        writer = PatchWriter(source, digest, spool, block_size)
        done = 0
        for block in cores.encode(blocks, known, reversible=reversible):
            writer.add(block)
            done += len(block.target)
            if progress:
                progress(done, target.size)
        header = writer.finish(target.size)
        tensors = tuple(writer.tensors())
        notes = pack_notes(new.format, tensors)
        if len(notes) > NOTES_SHARE * header.patch_size:
            notes = b""
        header = replace(header, notes_size=len(notes))
        if most is not None and header.patch_size > most:
            return NotWorthIt(header.patch_size, int(most / WORTH_IT), time.perf_counter() - started)
        head = pack_head(header, writer.records)
        patch_sha256 = _copy_out(head, spool, notes, out)
    return BuiltPatch(
        source_size=header.source_size,
        source_sha256=header.source_sha256,
        target_size=header.target_size,
        target_sha256=header.target_sha256,
        patch_size=header.patch_size,
        patch_sha256=patch_sha256,
        index_sha256=hashlib.sha256(head).digest(),
        working_set=header.working_set,
        reversible=header.reversible,
        seconds=time.perf_counter() - started,
        ops=dict(writer.ops),
        tensors=tensors,
    )


def read_or_opaque(reader: RangeReader) -> Layout:
    """A file that breaks its format's rules has no tensors to us; its bytes are patched as they are."""
    try:
        return read_layout(reader)
    except MalformedFile:
        return Layout("opaque", reader.size, ())


def _searched_seconds(blocks: Blocks) -> float:
    """What bsdiff will take on one core."""
    searched = (piece.size for piece in chain.from_iterable(blocks) if piece.lane.kind is LaneKind.BSDIFF)
    return sum(searched) / SEARCHED_PER_S


def _copy_out(head: bytes, spool: BinaryIO, notes: bytes, out: BinaryIO) -> bytes:
    """The whole patch to where it goes; its SHA-256."""
    digest = hashlib.sha256()
    spool.seek(0)
    chunk = head
    while chunk:
        digest.update(chunk)
        out.write(chunk)
        chunk = spool.read(CHUNK)
    digest.update(notes)
    out.write(notes)
    return digest.digest()
