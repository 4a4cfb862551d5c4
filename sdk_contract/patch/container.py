"""The header and block records of a `GLP1` patch, byte by byte (see `README.md`)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from sdk_contract.patch.errors import PatchCorrupt, PatchTooLarge, PatchUnsupported

MAGIC = b"\x89GLP\r\n\x1a\n"
MAJOR = 1
FLAG_REVERSIBLE = 1
HEADER = struct.Struct("<8sHHIQQQIIQII")
DIGESTS_SIZE = 64
RECORD = struct.Struct("<IIQQIBBH16s16s16s")
PREAMBLE_SIZE = HEADER.size + DIGESTS_SIZE
DIGEST_SIZE = 16
EMPTY_DIGEST = bytes(DIGEST_SIZE)


class BlockOp(IntEnum):
    """How a block's target bytes are produced."""

    COPY = 0
    ZERO = 1
    CODED = 2


@dataclass(frozen=True, slots=True)
class PatchLimits:
    """Limits that a reader sets for untrusted patches, in bytes.

    Attributes:
        max_head_bytes: size of header and index together.
        max_block_bytes: target range of one coded block; a payload may be 64 KiB longer.
        max_source_bytes: source bytes that one coded block reads.
        max_working_set: working set that the header announces.
    """

    max_head_bytes: int = 64 << 20
    max_block_bytes: int = 4 << 20
    max_source_bytes: int = 16 << 20
    max_working_set: int = 96 << 20


DEFAULT_LIMITS = PatchLimits()


@dataclass(frozen=True, slots=True)
class Header:
    """The first 128 bytes of a patch.

    Attributes:
        reversible: whether the patch can also restore the source from the target.
        source_size, target_size: of the complete files, bytes.
        source_sha256, target_sha256: of the complete files, 32 bytes each.
        payload_size: of all payloads together, bytes.
        block_count: number of records in the index.
        block_limit: maximum target bytes of one coded block.
        working_set: memory that the reference applier needs, bytes.
        notes_size: of the notes after the payloads, bytes; a device need not download them.
    """

    reversible: bool
    source_size: int
    target_size: int
    source_sha256: bytes
    target_sha256: bytes
    payload_size: int
    block_count: int
    block_limit: int
    working_set: int
    notes_size: int = 0

    @property
    def head_size(self) -> int:
        """Size of the header and the index, bytes."""
        return PREAMBLE_SIZE + RECORD.size * self.block_count

    @property
    def patch_size(self) -> int:
        """Size of the complete patch file, bytes."""
        return self.head_size + self.payload_size + self.notes_size

    def pack(self) -> bytes:
        """Serialize the header to its 128 bytes."""
        flags = FLAG_REVERSIBLE if self.reversible else 0
        fixed = HEADER.pack(
            MAGIC,
            MAJOR,
            PREAMBLE_SIZE,
            flags,
            self.source_size,
            self.target_size,
            self.payload_size,
            self.block_count,
            self.block_limit,
            self.working_set,
            self.notes_size,
            0,
        )
        return fixed + self.source_sha256 + self.target_sha256


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """One block: a contiguous range of the target, and how it is produced.

    Attributes:
        op: copy, zero or coded.
        reversible: whether the block can also restore its source ranges from its target range.
        target_size: size of the target range, bytes.
        payload_size: size of the payload, bytes; 0 for copy and zero.
        source_offset, source_span: a range that contains all source bytes that the block reads.
        source_size: number of source bytes that the block reads.
        payload_digest: first 16 bytes of the payload's SHA-256.
        source_digest: the same of the source bytes in segment order; zeros if the writer omitted it.
        target_digest: the same of the target from its first byte to the end of this block.
    """

    op: BlockOp
    reversible: bool
    target_size: int
    payload_size: int
    source_offset: int
    source_span: int
    source_size: int
    payload_digest: bytes
    source_digest: bytes
    target_digest: bytes

    def pack(self) -> bytes:
        """Serialize the record to its 80 bytes."""
        return RECORD.pack(
            self.target_size,
            self.payload_size,
            self.source_offset,
            self.source_span,
            self.source_size,
            self.op,
            FLAG_REVERSIBLE if self.reversible else 0,
            0,
            self.payload_digest,
            self.source_digest,
            self.target_digest,
        )


def parse_header(data: bytes, limits: PatchLimits = DEFAULT_LIMITS) -> Header:
    """Parse the first 128 bytes of a patch.

    Raises:
        PatchCorrupt: the bytes are not a `GLP1` patch.
        PatchUnsupported: the version or a flag is unknown.
        PatchTooLarge: the patch exceeds `limits`.
    """
    if len(data) < PREAMBLE_SIZE or data[: len(MAGIC)] != MAGIC:
        raise PatchCorrupt("not a GLP1 patch")
    fields = HEADER.unpack_from(data)
    _, major, preamble, flags, source, target, payload, blocks, block_limit, working, notes, zero = fields
    if major != MAJOR or preamble != PREAMBLE_SIZE or flags & ~FLAG_REVERSIBLE or zero:
        raise PatchUnsupported(f"version {major}, flags {flags:#x}")
    header = Header(
        reversible=bool(flags & FLAG_REVERSIBLE),
        source_size=source,
        target_size=target,
        source_sha256=data[HEADER.size : HEADER.size + 32],
        target_sha256=data[HEADER.size + 32 : PREAMBLE_SIZE],
        payload_size=payload,
        block_count=blocks,
        block_limit=block_limit,
        working_set=working,
        notes_size=notes,
    )
    if block_limit > limits.max_block_bytes or working > limits.max_working_set:
        raise PatchTooLarge(f"blocks of {block_limit} bytes, working set of {working} bytes")
    if header.head_size > limits.max_head_bytes:
        raise PatchTooLarge(f"index of {blocks} blocks")
    return header


def pack_head(header: Header, records: Iterable[BlockRecord]) -> bytes:
    """Serialize the header and the index."""
    return header.pack() + b"".join(record.pack() for record in records)
