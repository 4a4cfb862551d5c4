"""The index of a `GLP1` patch: all records are checked before any is used (see `README.md`)."""

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.container import (
    DEFAULT_LIMITS,
    DIGEST_SIZE,
    FLAG_REVERSIBLE,
    PREAMBLE_SIZE,
    RECORD,
    BlockOp,
    BlockRecord,
    Header,
    PatchLimits,
    parse_header,
)
from sdk_contract.patch.errors import IndexMismatch, PatchCorrupt, PatchTooLarge, PatchUnsupported

# The record as a NumPy type: checking thousands of records in a Python loop would take longer than the first block.
RECORD_DTYPE = np.dtype(
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


class RecordTable(Sequence[BlockRecord]):
    """The records of a checked index; each is parsed on access."""

    def __init__(self, raw: bytes) -> None:
        """Wrap the bytes of the records, which are checked already."""
        self._raw = raw

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self._raw) // RECORD.size

    @overload
    def __getitem__(self, index: int) -> BlockRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[BlockRecord]: ...

    def __getitem__(self, index: int | slice) -> BlockRecord | list[BlockRecord]:
        """The record of one block, or a list of records."""
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
        return BlockRecord(BlockOp(op), bool(flags), target, payload, offset, span, read, *digests)


@dataclass(frozen=True, slots=True)
class PatchIndex:
    """A checked header and index.

    Attributes:
        header: the first 128 bytes.
        records: one per block, in target order.
        sha256: digest of header and index; the index digest in the signed descriptor.
    """

    header: Header
    records: Sequence[BlockRecord]
    sha256: bytes
    _target_offsets: npt.NDArray[np.int64] = field(repr=False, compare=False)
    _payload_offsets: npt.NDArray[np.int64] = field(repr=False, compare=False)

    def target_offset(self, block: int) -> int:
        """Offset of a block in the target; for `block_count`, the end of the target."""
        return int(self._target_offsets[block])

    def payload_offset(self, block: int) -> int:
        """Offset of a block's payload in the patch file, where a download resumes."""
        return int(self._payload_offsets[block])


def parse_index(
    head: bytes, *, index_sha256: bytes | None = None, limits: PatchLimits = DEFAULT_LIMITS
) -> PatchIndex:
    """Parse and check the header and the index.

    Args:
        head: at least the first `Header.head_size` bytes of a patch.
        index_sha256: the digest from the signed descriptor; compared before the records are parsed.
        limits: the reader's limits.

    Raises:
        IndexMismatch: the digest differs.
        PatchError: as `parse_header`, or the index violates a rule of `README.md`.
    """
    header = parse_header(head, limits)
    if len(head) < header.head_size:
        raise PatchCorrupt("the index is incomplete")
    front = head[: header.head_size]
    digest = hashlib.sha256(front).digest()
    if index_sha256 is not None and digest != index_sha256:
        raise IndexMismatch
    raw = front[PREAMBLE_SIZE:]
    columns = np.frombuffer(raw, RECORD_DTYPE)
    _check_records(columns, header, limits)
    # Records have sizes, not offsets, so ranges cannot overlap. At most 2**20 sizes of 32 bits cannot overflow.
    targets = _cumulative_offsets(columns["target_size"], 0)
    payloads = _cumulative_offsets(columns["payload_size"], header.head_size)
    records = RecordTable(raw)
    _check_totals(header, columns, records, int(targets[-1]), int(payloads[-1]) - header.head_size)
    return PatchIndex(header, records, digest, targets, payloads)


def _cumulative_offsets(sizes: npt.NDArray[np.uint32], begin: int) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets + begin


def _check_records(columns: npt.NDArray[np.void], header: Header, limits: PatchLimits) -> None:
    """Check the rules of `README.md` for single records, for all records at once."""
    op, target, payload = columns["op"], columns["target_size"], columns["payload_size"]
    offset, span, read = columns["source_offset"], columns["source_span"], columns["source_size"]
    known = (
        (op <= max(BlockOp)) & (columns["flags"] & ~np.uint8(FLAG_REVERSIBLE) == 0) & (columns["zero"] == 0)
    )
    if not known.all():
        raise PatchUnsupported("a block has an unknown operation or flag")
    source_size = np.uint64(header.source_size)
    if (offset > source_size).any() or (span > source_size - offset).any():
        raise PatchCorrupt("a block reads beyond the end of the source")
    if (target == 0).any():
        raise PatchCorrupt("a block has no target bytes")
    coded = op == BlockOp.CODED
    whole = np.where(op == BlockOp.COPY, target, 0)
    if (~coded & ((payload != 0) | (read != whole) | (span != whole))).any():
        raise PatchCorrupt("a copy or zero block has a payload or a wrong source range")
    if (target[coded] > header.block_limit).any():
        raise PatchCorrupt("a block is larger than the header's limit")
    if (payload > header.block_limit + (64 << 10)).any() or (read[coded] > limits.max_source_bytes).any():
        raise PatchTooLarge("a block's payload or source range is too large")


def _check_totals(
    header: Header, columns: npt.NDArray[np.void], records: RecordTable, target: int, payload: int
) -> None:
    if target != header.target_size:
        raise PatchCorrupt("the blocks do not add up to the target size")
    if payload != header.payload_size:
        raise PatchCorrupt("the payloads do not add up to the payload size")
    if header.reversible and not columns["flags"].all():
        raise PatchCorrupt("the patch is marked reversible, but some of its blocks are not")
    last = records[-1].target_digest if records else header.target_sha256[:DIGEST_SIZE]
    if last != header.target_sha256[:DIGEST_SIZE]:
        raise PatchCorrupt("the last block's digest is not the target's")
