"""Applying a patch: block by block, while it arrives, from any block on, in bounded memory."""

import hashlib
from typing import Protocol

import zstandard

from sdk_contract.patch.block import make_target
from sdk_contract.patch.container import (
    DEFAULT_LIMITS,
    DIGEST_SIZE,
    PREAMBLE_SIZE,
    Limits,
    Op,
    Record,
    parse_header,
)
from sdk_contract.patch.errors import (
    BaseMismatch,
    BaseMissing,
    PatchCorrupt,
    PatchTruncated,
    TargetMismatch,
)
from sdk_contract.patch.heap import keep_heap
from sdk_contract.patch.index import PatchIndex, open_patch

PIECE = 1 << 20


class Source(Protocol):
    """The old file."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; EOFError or OSError when they are not there."""


class Target(Protocol):
    """The new file; `read` is asked for only when an applier starts behind the first block."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store the bytes at `offset`."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes that were written before."""


class Applier:
    """Makes the target from the source and a patch that is pushed in as it arrives.

    Feed the head (header and index) first, then the bytes from `wanted` on; with an `index` already checked,
    feed from `index.payload_offset(start_block)` on. A journal of the number returned by `feed` is all that
    a resume needs: give it as `start_block`, and what was written before is hashed again, not trusted.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        index_sha256: bytes | None = None,
        index: PatchIndex | None = None,
        limits: Limits = DEFAULT_LIMITS,
        start_block: int = 0,
    ) -> None:
        """Prepare; nothing is read or written before bytes arrive.

        Args:
            source: the old file.
            target: the new file.
            index_sha256: the index digest from the signed descriptor. Without it the caller vouches for the patch.
            index: from `open_patch`, when the head is already there.
            limits: what the caller is willing to spend.
            start_block: blocks that are already in the target.

        Raises:
            PatchCorrupt: `index` has fewer blocks than `start_block`.
            TargetMismatch: `index` is given and the target's front is damaged.
        """
        keep_heap()
        self._source, self._target = source, target
        self._index_sha256, self._limits = index_sha256, limits
        self._block, self._index = start_block, index
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._zstd = zstandard.ZstdDecompressor()
        if index is not None:
            self._begin(index)

    @property
    def index(self) -> PatchIndex | None:
        """Header and records, as soon as the head has arrived and was checked."""
        return self._index

    @property
    def blocks(self) -> int:
        """Blocks that are in the target and checked; what a journal keeps."""
        return self._block

    @property
    def wanted(self) -> int:
        """Offset in the patch file of the next byte to feed."""
        front = 0 if self._index is None else self._index.payload_offset(self._block)
        return front + len(self._buffer)

    def feed(self, chunk: bytes | memoryview) -> int:
        """Take the next bytes of the patch and make every block that is complete.

        Returns:
            Blocks that are in the target now, from the first on.

        Raises:
            PatchError: the patch or the source is not what it should be; nothing of that block was written.
        """
        self._buffer += chunk
        if self._index is None and not self._take_head():
            return self._block
        index = self._known_index()
        while self._block < len(index.records):
            record = index.records[self._block]
            if len(self._buffer) < record.payload_size:
                break
            payload = bytes(memoryview(self._buffer)[: record.payload_size])
            del self._buffer[: record.payload_size]
            self._make(record, index.target_offset(self._block), payload)
            self._block += 1
        if self._block == len(index.records):
            self._buffer.clear()  # notes for people follow the last payload
        return self._block

    def finish(self) -> None:
        """Check that the whole target is there and has the digest that the header names.

        Raises:
            PatchTruncated: blocks are missing.
            TargetMismatch: the target is not the one that the patch was made for.
        """
        if self._index is None or self._block < len(self._index.records):
            raise PatchTruncated(f"ended after block {self._block}")
        if self._digest.digest() != self._index.header.target_sha256:
            raise TargetMismatch("the whole file has another digest")

    def _known_index(self) -> PatchIndex:
        if self._index is None:
            raise PatchTruncated("no index yet")
        return self._index

    def _take_head(self) -> bool:
        if len(self._buffer) < PREAMBLE_SIZE:
            return False
        size = parse_header(bytes(self._buffer[:PREAMBLE_SIZE]), self._limits).head_size
        if len(self._buffer) < size:
            return False
        head = bytes(self._buffer[:size])
        index = open_patch(head, index_sha256=self._index_sha256, limits=self._limits)
        self._begin(index)
        del self._buffer[:size]
        self._index = index
        return True

    def _begin(self, index: PatchIndex) -> None:
        if not 0 <= self._block <= len(index.records):
            raise PatchCorrupt(f"no block {self._block}")
        end, at = index.target_offset(self._block), 0
        while at < end:
            piece = self._target.read(at, min(PIECE, end - at))
            self._digest.update(piece)
            at += len(piece)
        if (
            self._block
            and self._digest.digest()[:DIGEST_SIZE] != index.records[self._block - 1].target_digest
        ):
            raise TargetMismatch("what was written before the resume is damaged")

    def _make(self, record: Record, offset: int, payload: bytes) -> None:
        if record.op is not Op.CODED:
            self._stream(record, offset)
            return
        if hashlib.sha256(payload).digest()[:DIGEST_SIZE] != record.payload_digest:
            raise PatchCorrupt(f"payload of block {self._block}")
        made = make_target(payload, record, self._read_source, self._zstd)
        digest = self._digest.copy()
        digest.update(made.data)
        self._accept(record, digest, [(record, payload)])
        self._target.write(offset, made.data)

    def _stream(self, record: Record, offset: int) -> None:
        """Copy and zero blocks may be long: piece by piece, and the digest decides at the end."""
        digest, at = self._digest.copy(), 0
        while at < record.target_size:
            length = min(PIECE, record.target_size - at)
            copy = record.op is Op.COPY
            piece = self._read_source(record.source_offset + at, length) if copy else bytes(length)
            digest.update(piece)
            self._target.write(offset + at, piece)
            at += length
        self._accept(record, digest, [])

    def _accept(self, record: Record, digest: "hashlib._Hash", coded: list[tuple[Record, bytes]]) -> None:
        if digest.digest()[:DIGEST_SIZE] != record.target_digest:
            if coded or record.op is Op.COPY:
                raise BaseMismatch(f"block {self._block} does not come out right")
            raise TargetMismatch(f"block {self._block}")
        self._digest = digest

    def _read_source(self, offset: int, length: int) -> bytes:
        try:
            data = self._source.read(offset, length)
        except (EOFError, OSError) as error:
            raise BaseMissing(str(error)) from error
        if len(data) != length:
            raise BaseMissing(f"{length} bytes at {offset}")
        return data
