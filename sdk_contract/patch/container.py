"""The front of a `GLP1` patch: header, file digests and the index of blocks (see `README.md`)."""

import hashlib
import operator
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import overload

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.errors import IndexMismatch, PatchCorrupt, PatchTooLarge, PatchUnsupported

MAGIC = b"\x89GLP\r\n\x1a\n"
MAJOR = 1
FLAG_REVERSIBLE = 1
HEADER = struct.Struct("<8sHHIQQQIIQII")
DIGESTS_SIZE = 64
RECORD = struct.Struct("<IIQQIBBH16s16s16s")
# The same 80 bytes as columns: an index of thousands of blocks is checked before the first byte is used,
# and a loop over them in Python would take longer than the first block.
COLUMNS = np.dtype(
    [
        ("target_size", "<u4"),
        ("payload_size", "<u4"),
        ("source_offset", "<u8"),
        ("source_span", "<u8"),
        ("source_size", "<u4"),
        ("op", "u1"),
        ("flags", "u1"),
        ("zero", "<u2"),
        ("digests", "V48"),
    ]
)
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
        source_digest: the same of the source bytes read, in segment order.
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


class RecordTable(Sequence[Record]):
    """The records of a checked index; each is made when it is asked for."""

    def __init__(self, raw: bytes) -> None:
        """Keep the bytes; they were checked."""
        self._raw = raw

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self._raw) // RECORD.size

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """One block's record, or several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = operator.index(index)
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(index)
        fields = RECORD.unpack_from(self._raw, number * RECORD.size)
        target, payload, offset, span, read, op, flags, _, payload_digest, source_digest, target_digest = (
            fields
        )
        digests = (payload_digest, source_digest, target_digest)
        return Record(Op(op), bool(flags), target, payload, offset, span, read, *digests)


@dataclass(frozen=True, slots=True)
class PatchIndex:
    """A checked header and index.

    Attributes:
        header: the first 128 bytes.
        records: one per block, in target order.
        sha256: digest of header and index, what the signed descriptor calls the index digest.
    """

    header: Header
    records: Sequence[Record]
    sha256: bytes
    _target_offsets: npt.NDArray[np.int64] = field(repr=False, compare=False)
    _payload_offsets: npt.NDArray[np.int64] = field(repr=False, compare=False)

    def target_offset(self, block: int) -> int:
        """First target byte of a block; of block `block_count`, the end of the target."""
        return int(self._target_offsets[block])

    def payload_offset(self, block: int) -> int:
        """First byte of a block's payload in the patch file; a device resumes its download here."""
        return int(self._payload_offsets[block])


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


def open_patch(
    head: bytes, *, index_sha256: bytes | None = None, limits: Limits = DEFAULT_LIMITS
) -> PatchIndex:
    """Check header and index.

    Args:
        head: at least the first `Header.head_size` bytes of a patch.
        index_sha256: the digest from the signed descriptor; compared before anything is parsed.
        limits: what the reader is willing to spend.

    Raises:
        IndexMismatch: the digest differs.
        PatchError: as `parse_header`, or the index breaks a rule of `README.md`.
    """
    header = parse_header(head, limits)
    if len(head) < header.head_size:
        raise PatchCorrupt("the index is cut short")
    front = head[: header.head_size]
    digest = hashlib.sha256(front).digest()
    if index_sha256 is not None and digest != index_sha256:
        raise IndexMismatch
    raw = front[PREAMBLE_SIZE:]
    columns = np.frombuffer(raw, COLUMNS)
    _check_records(columns, header, limits)
    # Lengths only: ranges cannot overlap or leave gaps. At most 2**20 records of 32 bits each: no overflow.
    targets = _offsets(columns["target_size"], 0)
    payloads = _offsets(columns["payload_size"], header.head_size)
    records = RecordTable(raw)
    _check_sums(header, columns, records, int(targets[-1]), int(payloads[-1]) - header.head_size)
    return PatchIndex(header, records, digest, targets, payloads)


def pack_head(header: Header, records: Iterable[Record]) -> bytes:
    """Header and index as they stand in the file."""
    return header.pack() + b"".join(record.pack() for record in records)


def _offsets(sizes: npt.NDArray[np.uint32], begin: int) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets + begin


def _check_records(columns: npt.NDArray[np.void], header: Header, limits: Limits) -> None:
    """Every rule of `README.md` on single records, all records at once."""
    op, target, payload = columns["op"], columns["target_size"], columns["payload_size"]
    offset, span, read = columns["source_offset"], columns["source_span"], columns["source_size"]
    known = (op <= max(Op)) & (columns["flags"] & ~np.uint8(FLAG_REVERSIBLE) == 0) & (columns["zero"] == 0)
    if not known.all():
        raise PatchUnsupported("an unknown operation or flag")
    source_size = np.uint64(header.source_size)
    if (offset > source_size).any() or (span > source_size - offset).any():
        raise PatchCorrupt("a block reads behind the source")
    if (target == 0).any():
        raise PatchCorrupt("a block without target bytes")
    coded = op == Op.CODED
    whole = np.where(op == Op.COPY, target, 0)
    if (~coded & ((payload != 0) | (read != whole) | (span != whole))).any():
        raise PatchCorrupt("a plain block with a payload or a wrong source range")
    if (target[coded] > header.block_limit).any():
        raise PatchCorrupt("a block above the announced limit")
    if (payload > header.block_limit + (64 << 10)).any() or (read[coded] > limits.source_bytes).any():
        raise PatchTooLarge("a block of too large a payload or source")


def _check_sums(
    header: Header, columns: npt.NDArray[np.void], records: RecordTable, target: int, payload: int
) -> None:
    if target != header.target_size:
        raise PatchCorrupt("the blocks do not add up to the target")
    if payload != header.payload_size:
        raise PatchCorrupt("the payloads do not add up")
    if header.reversible and not columns["flags"].all():
        raise PatchCorrupt("reversible, but not in every block")
    last = records[-1].target_digest if records else header.target_sha256[:DIGEST_SIZE]
    if last != header.target_sha256[:DIGEST_SIZE]:
        raise PatchCorrupt("the last block does not end in the target's digest")
