"""Building a patch: align, cut, encode in threads, write in order."""

import hashlib
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

from sdk_contract.patch.container import (
    DIGEST_SIZE,
    EMPTY_DIGEST,
    Header,
    Op,
    Record,
    pack_head,
)
from sdk_contract.patch.plan import LaneKind
from workers.delta.align import Piece, align
from workers.delta.blocks import BLOCK, cut_blocks
from workers.delta.encode import EncodedBlock, EncodedPiece, encode_block
from workers.delta.layouts import MalformedFile, read_layout
from workers.delta.layouts.layout import Layout, RangeReader

CHUNK = 1 << 20
MAX_COPY = 1 << 30
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What a patch does to one tensor of the target."""

    name: str
    size: int
    changed: int
    cost: int


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
    tensors: tuple[TensorChange, ...] = ()


@dataclass(frozen=True, slots=True)
class NotWorthIt:
    """The pair is too different: the full file costs the device about as much.

    Attributes:
        predicted_size: bytes that the patch would have.
        full_size: bytes of the compressed target, estimated from the same samples.
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

    The same inputs give the same bytes, whatever the number of threads.

    Args:
        source: the old file.
        target: the new file.
        out: where the patch goes; written once from start to end.
        threads: blocks encoded at the same time.
        reversible: keep to what the new file alone can undo; costs size on floating-point tensors.
        progress: called with target bytes done and target bytes in all.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    started = time.perf_counter()
    blocks = list(cut_blocks(align(_layout(source), _layout(target))))
    with tempfile.TemporaryFile() as spool:
        writer = _Writer(source, spool)
        done = 0
        for block in _encoded(blocks, source, target, threads, reversible=reversible):
            writer.add(block)
            done += len(block.target)
            if progress:
                progress(done, target.size)
        header, records = writer.finish(target.size)
        head = pack_head(header, records)
        digest = hashlib.sha256(head)
        out.write(head)
        spool.seek(0)
        while chunk := spool.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return BuiltPatch(
        source_size=header.source_size,
        source_sha256=header.source_sha256,
        target_size=header.target_size,
        target_sha256=header.target_sha256,
        patch_size=header.patch_size,
        patch_sha256=digest.digest(),
        index_sha256=hashlib.sha256(head).digest(),
        working_set=header.working_set,
        reversible=header.reversible,
        seconds=time.perf_counter() - started,
        ops=dict(writer.ops),
    )


def _layout(reader: RangeReader) -> Layout:
    try:
        return read_layout(reader)
    except MalformedFile:
        return Layout("opaque", reader.size, ())


def _encoded(
    blocks: list[tuple[Piece, ...]],
    source: RangeReader,
    target: RangeReader,
    threads: int,
    *,
    reversible: bool,
) -> Iterator[EncodedBlock]:
    """Blocks in order, a few ahead: memory is bounded by the number of threads."""
    pending: deque[Future[EncodedBlock]] = deque()
    with ThreadPoolExecutor(threads, "delta") as pool:
        for pieces in blocks:
            pending.append(pool.submit(encode_block, pieces, source, target, reversible=reversible))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@dataclass(slots=True)
class _Writer:
    """Takes blocks in order and keeps what the index says of them."""

    source: RangeReader
    spool: BinaryIO
    ops: Counter[str] = field(default_factory=Counter)
    records: list[Record] = field(default_factory=list)
    payload_size: int = 0
    largest: int = 0
    target_digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    copied: "hashlib._Hash | None" = None

    def add(self, block: EncodedBlock) -> None:
        """The next block."""
        self.target_digest.update(block.target)
        for piece in block.pieces:
            self.ops[piece.lane.kind.name.lower()] += piece.piece.size
        record = self._record(block)
        if self._joins(record):
            record = self._joined(self.records.pop(), record, block.source)
        else:
            self.copied = hashlib.sha256(block.source) if record.op is Op.COPY else None
        self.records.append(record)
        self.spool.write(block.payload)
        self.payload_size += len(block.payload)

    def finish(self, target_size: int) -> tuple[Header, list[Record]]:
        """Header and records of the whole patch."""
        header = Header(
            reversible=False,
            source_size=self.source.size,
            target_size=target_size,
            source_sha256=_digest(self.source),
            target_sha256=self.target_digest.digest(),
            payload_size=self.payload_size,
            block_count=len(self.records),
            block_limit=BLOCK,
            working_set=48 << 20,
        )
        return header, self.records

    def _record(self, block: EncodedBlock) -> Record:
        reading = [p.piece for p in block.pieces if _reads(p)]
        begin = min((p.source_offset for p in reading), default=0)
        end = max((p.source_offset + p.source_size for p in reading), default=0)
        op = Op.CODED
        if not block.payload:
            op = Op.COPY if reading else Op.ZERO
        payload_digest = (
            hashlib.sha256(block.payload).digest()[:DIGEST_SIZE] if block.payload else EMPTY_DIGEST
        )
        return Record(
            op=op,
            reversible=False,
            target_size=len(block.target),
            payload_size=len(block.payload),
            source_offset=begin,
            source_span=end - begin,
            source_size=len(block.source),
            payload_digest=payload_digest,
            source_digest=block.source_digest,
            target_digest=self.target_digest.digest()[:DIGEST_SIZE],
        )

    def _joins(self, record: Record) -> bool:
        """Whether a copy goes on where the copy before it ended."""
        if record.op is not Op.COPY or self.copied is None:
            return False
        last = self.records[-1]
        adjacent = last.source_offset + last.source_span == record.source_offset
        return adjacent and last.target_size + record.target_size <= MAX_COPY

    def _joined(self, last: Record, record: Record, source: bytes) -> Record:
        copied = self.copied or hashlib.sha256()
        copied.update(source)
        return Record(
            op=Op.COPY,
            reversible=record.reversible,
            target_size=last.target_size + record.target_size,
            payload_size=0,
            source_offset=last.source_offset,
            source_span=last.source_span + record.source_span,
            source_size=last.source_size + record.source_size,
            payload_digest=EMPTY_DIGEST,
            source_digest=copied.digest()[:DIGEST_SIZE],
            target_digest=record.target_digest,
        )


def _reads(piece: EncodedPiece) -> bool:
    return piece.lane.kind not in (LaneKind.ZERO, LaneKind.LITERAL)


def _digest(reader: RangeReader) -> bytes:
    digest = hashlib.sha256()
    for at in range(0, reader.size, CHUNK):
        digest.update(reader.read(at, min(CHUNK, reader.size - at)))
    return digest.digest()
