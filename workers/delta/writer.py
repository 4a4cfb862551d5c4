"""Writing a patch: blocks arrive in order, the index is known at the end and stands in front."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from sdk_contract.patch.container import DIGEST_SIZE, EMPTY_DIGEST, Header, Op, Record
from workers.delta.coded import EncodedBlock, EncodedPiece
from workers.delta.digests import SourceDigest
from workers.delta.encode import joined, read_sources
from workers.delta.layouts.layout import RangeReader

MAX_COPY = 1 << 30
# Payload, source, target, symbols and positions of one block in the reference applier, per byte of target.
WORKING_SET_PER_BYTE = 40


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What a patch does to one tensor of the target.

    Attributes:
        name: as in the file; "" is everything between tensors.
        size: bytes.
        values, changed: how many values it has, and how many differ from the source.
        cost: bytes of the patch that are spent on it.
        ops: bytes by what they are made from.
    """

    name: str
    size: int
    values: int
    changed: int
    cost: int
    ops: dict[str, int]


@dataclass(slots=True)
class PatchWriter:
    """Takes blocks in order and keeps what the index says of them."""

    source: RangeReader
    source_digest: SourceDigest
    spool: BinaryIO
    block_size: int
    records: list[Record] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    _tensors: dict[str, list[EncodedPiece]] = field(default_factory=lambda: defaultdict(list))
    _covered: list[tuple[int, int]] = field(default_factory=list)
    _payload_size: int = 0
    _target_digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _copied: "hashlib._Hash | None" = None

    def add(self, block: EncodedBlock) -> None:
        """The next block."""
        self._target_digest.update(block.target)
        self._note(block)
        record = self._record(block)
        if self._joins(record):
            record = self._joined(self.records.pop(), record, block)
        else:
            stated = record.op is Op.COPY and record.source_digest != EMPTY_DIGEST
            self._copied = hashlib.sha256(self._used(block)) if stated else None
        self.records.append(record)
        self.spool.write(block.payload)
        self._payload_size += len(block.payload)

    def finish(self, target_size: int) -> Header:
        """The header of the whole patch."""
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

    def tensors(self) -> Iterator[TensorChange]:
        """What happened to each tensor, in target order."""
        for name, pieces in self._tensors.items():
            ops: Counter[str] = Counter()
            for piece in pieces:
                ops[_op(piece)] += piece.piece.size
            yield TensorChange(
                name,
                sum(piece.piece.size for piece in pieces),
                sum(piece.values for piece in pieces),
                sum(piece.changed for piece in pieces),
                sum(piece.cost for piece in pieces),
                dict(ops),
            )

    def _note(self, block: EncodedBlock) -> None:
        at = end = 0
        data = None if block.source is None else memoryview(block.source)
        for piece in block.pieces:
            self.ops[_op(piece)] += piece.piece.size
            self._tensors[piece.piece.tensor].append(piece)
            if piece.reads:
                begin, size = piece.piece.source_offset, piece.piece.source_size
                if data is not None:
                    self.source_digest.add(begin, data[at : at + size])
                at += size
                end = max(end, begin + size)
                self._covered.append((begin, size))
        self.source_digest.read_to(end)  # of what another process read; in long reads, whatever the pieces

    def _covers_source(self) -> bool:
        end = 0
        for begin, size in sorted(self._covered):
            if begin != end:
                return False
            end += size
        return end == self.source.size

    def _record(self, block: EncodedBlock) -> Record:
        reading = [piece.piece for piece in block.pieces if piece.reads]
        begin = min((piece.source_offset for piece in reading), default=0)
        end = max((piece.source_offset + piece.source_size for piece in reading), default=0)
        op = Op.CODED
        if not block.payload:
            op = Op.COPY if reading else Op.ZERO
        return Record(
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

    def _joins(self, record: Record) -> bool:
        """Whether a copy goes on where the copy before it ended."""
        if record.op is not Op.COPY or not self.records or self.records[-1].op is not Op.COPY:
            return False
        last = self.records[-1]
        adjacent = last.source_offset + last.source_span == record.source_offset
        return adjacent and last.target_size + record.target_size <= MAX_COPY

    def _used(self, block: EncodedBlock) -> bytes | memoryview:
        """The source bytes of a block."""
        if block.source is not None:
            return block.source
        return joined(read_sources([each.piece for each in block.pieces if each.reads], self.source))

    def _joined(self, last: Record, record: Record, block: EncodedBlock) -> Record:
        if self._copied is not None:
            self._copied.update(self._used(block))
        return replace(
            last,
            target_size=last.target_size + record.target_size,
            source_span=last.source_span + record.source_span,
            source_size=last.source_size + record.source_size,
            source_digest=self._copied.digest()[:DIGEST_SIZE] if self._copied else EMPTY_DIGEST,
            target_digest=record.target_digest,
        )


def _op(piece: EncodedPiece) -> str:
    return piece.lane.kind.name.lower()
