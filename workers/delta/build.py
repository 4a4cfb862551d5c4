"""Build a patch: align the files, split into blocks, estimate, encode on several cores, write in order."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import BinaryIO

from sdk_contract.patch.container import Header, pack_head
from sdk_contract.patch.malloc_tuning import keep_freed_memory
from sdk_contract.patch.payload.block_plan import LaneKind
from workers.delta.encoding.encoded import BlockResult
from workers.delta.encoding.encoder_pool import EncoderPool
from workers.delta.estimate import changed_share, estimate_full_size, estimate_patch_size
from workers.delta.layouts import MalformedFile, read_layout
from workers.delta.layouts.layout import Layout, RangeReader
from workers.delta.matching.alignment import Alignment, Piece
from workers.delta.matching.blocks import BLOCK_BYTES, SPARSE_BLOCK_BYTES, split_into_blocks
from workers.delta.patch_file.notes import pack_notes
from workers.delta.patch_file.source_digest import InlineDigest, PrefetchDigest, SourceDigest
from workers.delta.patch_file.writer import PatchWriter, TensorChange

CHUNK_BYTES = 1 << 20
# A smaller target is downloaded in one request with or without a patch, and its estimated size is mostly headers.
ALWAYS_WORTH_IT_BYTES = 64 << 10
MAX_PATCH_SHARE = 0.8
"""A patch larger than this share of the full download is not worth it."""
# A file of fewer blocks is encoded before an estimate would save time.
MIN_BLOCKS_TO_ESTIMATE = 48
# If a smaller share of the bytes changed, blocks are larger.
SPARSE_SHARE = 0.02
# The notes are for people and must not make a small patch large.
MAX_NOTES_SHARE = 0.025
# Target bytes that one core encodes in a second: weights, and bytes that bsdiff has to search.
ENCODED_BYTES_PER_S, BSDIFF_BYTES_PER_S = 150e6, 0.5e6
# Starting a process takes about 0.2 s, so less work than this is done before a process could help.
MIN_SECONDS_FOR_PROCESSES = 0.5
Progress = Callable[[int, int], None]
Blocks = list[tuple[Piece, ...]]


@dataclass(frozen=True, slots=True)
class BuiltPatch:
    """A patch that was written, with the values of its signed descriptor.

    Attributes:
        source_size, target_size, patch_size: bytes.
        source_sha256, target_sha256, patch_sha256, index_sha256: 32 bytes each.
        full_size: bytes of the full download: the compressed target, estimated; the plain size of a small target.
        working_set: bytes of memory that applying needs.
        reversible: whether the patch can also be applied to the target to restore the source.
        seconds: wall time.
        ops: target bytes per operation (`copy`, `delta`, ...).
        tensors: the change of each tensor of the target.
    """

    source_size: int
    source_sha256: bytes
    target_size: int
    target_sha256: bytes
    patch_size: int
    patch_sha256: bytes
    index_sha256: bytes
    full_size: int
    working_set: int
    reversible: bool
    seconds: float
    ops: dict[str, int]
    tensors: tuple[TensorChange, ...]


@dataclass(frozen=True, slots=True)
class NotWorthIt:
    """The files differ so much that a patch saves the device little or nothing.

    Attributes:
        patch_size: bytes of the patch, estimated from samples or exact.
        full_size: bytes of the compressed target, estimated from samples.
        seconds: wall time.
    """

    patch_size: int
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
    """Write the patch from `source` to `target`.

    The same inputs give the same bytes for any number of cores. Nothing is written to `out` if the pair is not worth
    a patch. Processes are started only if both files are `LocalFile`s, which processes can share, and only if there is
    enough work.

    Args:
        source: the old file.
        target: the new file.
        out: receives the patch, written once from start to end.
        threads: number of cores to use; every core but one is a process of its own.
        reversible: use only what the new file alone can undo; patches of floating-point tensors become larger.
        progress: called with the target bytes done and in total.

    Raises:
        EncoderDied: an encoder process ended before its work was done.
        EOFError, OSError: a file cannot be read.
    """
    keep_freed_memory()
    with EncoderPool(source, target, threads) as pool:
        if target.size > MIN_SECONDS_FOR_PROCESSES * ENCODED_BYTES_PER_S:
            pool.start()
        with closing(_source_digest(pool)) as digest:
            return _build(pool, digest, out, reversible=reversible, progress=progress)


def is_worth_it(patch_size: int, full_size: int) -> bool:
    """Return whether a patch saves enough of a full download of `full_size` bytes."""
    return patch_size <= int(MAX_PATCH_SHARE * full_size)


def read_layout_or_opaque(reader: RangeReader) -> Layout:
    """Read the layout; a file that violates its format has no tensors and is patched as plain bytes."""
    try:
        return read_layout(reader)
    except MalformedFile:
        return Layout("opaque", reader.size, ())


def _source_digest(pool: EncoderPool) -> SourceDigest:
    return PrefetchDigest(pool.source) if pool.encoders else InlineDigest(pool.source)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The blocks of a patch.

    Attributes:
        format: of the target.
        full_size: bytes of the compressed target; None if any patch is worth it.
    """

    format: str
    block_size: int
    blocks: Blocks
    full_size: int | None

    def exceeded_by(self, patch_size: int) -> bool:
        """Whether a patch of this size is not worth it."""
        return self.full_size is not None and not is_worth_it(patch_size, self.full_size)

    def not_worth_it(self, patch_size: int, started: float) -> NotWorthIt:
        return NotWorthIt(patch_size, self.full_size or 0, time.perf_counter() - started)


def _plan(source: RangeReader, target: RangeReader) -> _Plan:
    old, new = read_layout_or_opaque(source), read_layout_or_opaque(target)
    pieces = list(Alignment(source, old, target, new).pieces())
    block_size = SPARSE_BLOCK_BYTES if changed_share(pieces, source, target) < SPARSE_SHARE else BLOCK_BYTES
    blocks = list(split_into_blocks(pieces, block_size))
    full_size = estimate_full_size(blocks, target) if target.size > ALWAYS_WORTH_IT_BYTES else None
    return _Plan(new.format, block_size, blocks, full_size)


def _build(
    pool: EncoderPool, digest: SourceDigest, out: BinaryIO, *, reversible: bool, progress: Progress | None
) -> BuiltPatch | NotWorthIt:
    started, source, target = time.perf_counter(), pool.source, pool.target
    plan = _plan(source, target)
    results: dict[int, BlockResult] = {}
    if plan.full_size is not None and len(plan.blocks) >= MIN_BLOCKS_TO_ESTIMATE:
        estimate, results = estimate_patch_size(plan.blocks, source, target, reversible=reversible)
        if plan.exceeded_by(estimate):
            return plan.not_worth_it(estimate, started)
    if _bsdiff_seconds(plan.blocks) > MIN_SECONDS_FOR_PROCESSES:
        pool.start()
    with tempfile.TemporaryFile() as spool:
        writer = PatchWriter(source, digest, spool, plan.block_size)
        done = 0
        for block in pool.encode(plan.blocks, results, reversible=reversible):
            writer.add(block)
            done += len(block.target)
            if progress:
                progress(done, target.size)
        tensors = tuple(writer.tensor_changes())
        header, notes = _finish(writer, target.size, plan.format, tensors)
        if plan.exceeded_by(header.patch_size):
            return plan.not_worth_it(header.patch_size, started)
        head = pack_head(header, writer.records)
        patch_sha256 = _write_out(head, spool, notes, out)
    return BuiltPatch(
        source_size=header.source_size,
        source_sha256=header.source_sha256,
        target_size=header.target_size,
        target_sha256=header.target_sha256,
        patch_size=header.patch_size,
        patch_sha256=patch_sha256,
        full_size=target.size if plan.full_size is None else plan.full_size,
        index_sha256=hashlib.sha256(head).digest(),
        working_set=header.working_set,
        reversible=header.reversible,
        seconds=time.perf_counter() - started,
        ops=dict(writer.ops),
        tensors=tensors,
    )


def _finish(
    writer: PatchWriter, target_size: int, target_format: str, tensors: tuple[TensorChange, ...]
) -> tuple[Header, bytes]:
    """Return the header and the notes; there are no notes if they would be a large share of the patch."""
    header = writer.finish(target_size)
    notes = pack_notes(target_format, tensors)
    if len(notes) > MAX_NOTES_SHARE * header.patch_size:
        notes = b""
    return replace(header, notes_size=len(notes)), notes


def _bsdiff_seconds(blocks: Blocks) -> float:
    """Time that bsdiff will take on one core."""
    sizes = (piece.size for piece in chain.from_iterable(blocks) if piece.lane.kind is LaneKind.BSDIFF)
    return sum(sizes) / BSDIFF_BYTES_PER_S


def _write_out(head: bytes, spool: BinaryIO, notes: bytes, out: BinaryIO) -> bytes:
    """Write head, payloads and notes to `out`; return the SHA-256 of the patch."""
    digest = hashlib.sha256()
    spool.seek(0)
    chunk = head
    while chunk:
        digest.update(chunk)
        out.write(chunk)
        chunk = spool.read(CHUNK_BYTES)
    digest.update(notes)
    out.write(notes)
    return digest.digest()
