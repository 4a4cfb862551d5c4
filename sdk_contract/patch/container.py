"""The front of a `GLP1` patch: header and records, byte by byte (see `README.md`)."""

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


class Op(IntEnum):
    """What a block is made from."""

    COPY = 0
    ZERO = 1
    CODED = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader is willing to spend on a patch from outside.

    Attributes:
        head_bytes: longest header and index together.
        block_bytes: longest target range of a coded block, and longest payload but for 64 KiB.
        source_bytes: most source bytes that one coded block may read.
        working_set: highest working set that a header may announce.
    """

    head_bytes: int = 64 << 20
    block_bytes: int = 4 << 20
    source_bytes: int = 16 << 20
    working_set: int = 96 << 20


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Header:
    """The first 128 bytes.

    Attributes:
        reversible: the patch also takes the target back to the source.
        source_size, target_size: whole files, in bytes.
        source_sha256, target_sha256: of the whole files, 32 bytes each.
        payload_size: bytes of all payloads together.
        block_count: records in the index.
        block_limit: no coded block makes more target bytes than this.
        working_set: memory in bytes that the reference applier needs beyond its code.
        notes_size: bytes of the notes behind the payloads; a device need not fetch them.
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
        """Bytes before the first payload."""
        return PREAMBLE_SIZE + RECORD.size * self.block_count

    @property
    def patch_size(self) -> int:
        """Bytes of the whole patch file."""
        return self.head_size + self.payload_size + self.notes_size

    def pack(self) -> bytes:
        """The 128 bytes of the file."""
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
class Record:
    """One block: a gap-free range of the target and how it is made.

    Attributes:
        op: copy, zero or coded.
        reversible: the block also makes its source ranges from its target range.
        target_size: bytes of the target range.
        payload_size: bytes of the payload; 0 for copy and zero.
        source_offset, source_span: the hull of everything the block reads from the source.
        source_size: bytes that it reads from the source in all.
        payload_digest: first 16 bytes of the payload's SHA-256.
        source_digest: the same of the source bytes read, in segment order; zeros when the writer left it out.
        target_digest: the same of the target from its first byte to the end of this block.
    """

    op: Op
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
        """The 80 bytes of the file."""
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


def parse_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read the first 128 bytes of a patch.

    Raises:
        PatchCorrupt: not a patch, or fields that contradict each other.
        PatchUnsupported: a later version or an unknown flag.
        PatchTooLarge: more than `limits` allow.
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
    if block_limit > limits.block_bytes or working > limits.working_set:
        raise PatchTooLarge(f"blocks of {block_limit} bytes, working set of {working} bytes")
    if header.head_size > limits.head_bytes:
        raise PatchTooLarge(f"index of {blocks} blocks")
    return header


def pack_head(header: Header, records: Iterable[Record]) -> bytes:
    """Header and index as they stand in the file."""
    return header.pack() + b"".join(record.pack() for record in records)
