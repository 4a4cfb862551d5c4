"""Collect encoded blocks: payloads go to a spool file, because the index before them is known only at the end."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from sdk_contract.patch.container import DIGEST_SIZE, EMPTY_DIGEST, BlockOp, BlockRecord, Header
from workers.delta.encoding.block import concatenate, read_sources
from workers.delta.encoding.encoded import EncodedBlock, EncodedPiece
from workers.delta.layouts.layout import RangeReader
from workers.delta.patch_file.source_digest import SourceDigest

MAX_COPY_BYTES = 1 << 30
# Memory of the reference applier per target byte of a block: payload, source, target, symbols and positions.
WORKING_SET_PER_BYTE = 40


@dataclass(frozen=True, slots=True)
class TensorChange:
    """The change of one tensor of the target.

    Attributes:
        name: as in the file; "" stands for all bytes between tensors.
        size: bytes.
        values, changed: number of values, and of values that differ from the source.
        cost: bytes of the patch that are spent on the tensor.
        ops: target bytes per operation (`copy`, `delta`, ...).
    """

    name: str
    size: int
    values: int
    changed: int
    cost: int
    ops: dict[str, int]


@dataclass(slots=True)
class PatchWriter:
    """Takes encoded blocks in order, and collects the index records and the statistics of the tensors.

    Attributes:
        source: the old file.
        source_digest: receives the source bytes of the blocks.
        spool: receives the payloads.
        block_size: upper bound of a block's target bytes.
        records: the index so far.
        ops: target bytes per operation.
    """

    source: RangeReader
    source_digest: SourceDigest
    spool: BinaryIO
    block_size: int
    records: list[BlockRecord] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    _pieces_by_tensor: dict[str, list[EncodedPiece]] = field(default_factory=lambda: defaultdict(list))
    _source_ranges: list[tuple[int, int]] = field(default_factory=list)
    _payload_size: int = 0
    _target_digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _copy_digest: "hashlib._Hash | None" = None

    def add(self, block: EncodedBlock) -> None:
        """Add the next block."""
        self._target_digest.update(block.target)
        self._record_pieces(block)
        record = self._record(block)
        if self._extends_last_copy(record):
            record = self._merge_copies(self.records.pop(), record, block)
        else:
            has_source_digest = record.op is BlockOp.COPY and record.source_digest != EMPTY_DIGEST
            self._copy_digest = hashlib.sha256(self._source_bytes(block)) if has_source_digest else None
        self.records.append(record)
        self.spool.write(block.payload)
        self._payload_size += len(block.payload)

    def finish(self, target_size: int) -> Header:
        """Return the header of the patch."""
        return Header(
            reversible=all(record.reversible for record in self.records) and self._covers_source(),
            source_size=self.source.size,
            target_size=target_size,
            source_sha256=self.source_digest.finish(),
            target_sha256=self._target_digest.digest(),
            payload_size=self._payload_size,
            block_count=len(self.records),
            block_limit=self.block_size,
            working_set=WORKING_SET_PER_BYTE * self.block_size,
        )

    def tensor_changes(self) -> Iterator[TensorChange]:
        """Yield the change of each tensor, in target order."""
        for name, pieces in self._pieces_by_tensor.items():
            ops: Counter[str] = Counter()
            for piece in pieces:
                ops[_op_name(piece)] += piece.piece.size
            yield TensorChange(
                name,
                sum(piece.piece.size for piece in pieces),
                sum(piece.values for piece in pieces),
                sum(piece.changed for piece in pieces),
                sum(piece.cost for piece in pieces),
                dict(ops),
            )

    def _record_pieces(self, block: EncodedBlock) -> None:
        position = end = 0
        source_bytes = None if block.source is None else memoryview(block.source)
        for piece in block.pieces:
            self.ops[_op_name(piece)] += piece.piece.size
            self._pieces_by_tensor[piece.piece.tensor].append(piece)
            if piece.reads_source:
                begin, size = piece.piece.source_offset, piece.piece.source_size
                if source_bytes is not None:
                    self.source_digest.add(begin, source_bytes[position : position + size])
                position += size
                end = max(end, begin + size)
                self._source_ranges.append((begin, size))
        # Needed for blocks of other processes; one long read is faster than one per piece.
        self.source_digest.read_to(end)

    def _covers_source(self) -> bool:
        """Whether the blocks read every source byte exactly once."""
        end = 0
        for begin, size in sorted(self._source_ranges):
            if begin != end:
                return False
            end += size
        return end == self.source.size

    def _record(self, block: EncodedBlock) -> BlockRecord:
        reading = [piece.piece for piece in block.pieces if piece.reads_source]
        begin = min((piece.source_offset for piece in reading), default=0)
        end = max((piece.source_offset + piece.source_size for piece in reading), default=0)
        op = BlockOp.CODED
        if not block.payload:
            op = BlockOp.COPY if reading else BlockOp.ZERO
        return BlockRecord(
            op=op,
            reversible=block.reversible,
            target_size=len(block.target),
            payload_size=len(block.payload),
            source_offset=begin,
            source_span=end - begin,
            source_size=sum(piece.source_size for piece in reading),
            payload_digest=block.payload_digest,
            source_digest=block.source_digest,
            target_digest=self._target_digest.digest()[:DIGEST_SIZE],
        )

    def _extends_last_copy(self, record: BlockRecord) -> bool:
        """Whether the record is a copy that continues the copy before it."""
        if record.op is not BlockOp.COPY or not self.records or self.records[-1].op is not BlockOp.COPY:
            return False
        last = self.records[-1]
        adjacent = last.source_offset + last.source_span == record.source_offset
        return adjacent and last.target_size + record.target_size <= MAX_COPY_BYTES

    def _source_bytes(self, block: EncodedBlock) -> bytes | memoryview:
        if block.source is not None:
            return block.source
        pieces = [encoded.piece for encoded in block.pieces if encoded.reads_source]
        return concatenate(read_sources(pieces, self.source))

    def _merge_copies(self, last: BlockRecord, record: BlockRecord, block: EncodedBlock) -> BlockRecord:
        if self._copy_digest is not None:
            self._copy_digest.update(self._source_bytes(block))
        return replace(
            last,
            target_size=last.target_size + record.target_size,
            source_span=last.source_span + record.source_span,
            source_size=last.source_size + record.source_size,
            source_digest=self._copy_digest.digest()[:DIGEST_SIZE] if self._copy_digest else EMPTY_DIGEST,
            target_digest=record.target_digest,
        )


def _op_name(piece: EncodedPiece) -> str:
    return piece.lane.kind.name.lower()
