"""The index of a `GLP1` patch: every rule is checked before anything of it is used (see `README.md`)."""

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
    Header,
    Limits,
    Op,
    Record,
    parse_header,
)
from sdk_contract.patch.errors import IndexMismatch, PatchCorrupt, PatchTooLarge, PatchUnsupported

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
