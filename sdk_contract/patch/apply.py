"""Applies a patch block by block while it is downloaded, from any block on, in bounded memory."""

import hashlib
from typing import Protocol

import zstandard

from sdk_contract.patch.container import (
    DEFAULT_LIMITS,
    DIGEST_SIZE,
    PREAMBLE_SIZE,
    BlockOp,
    BlockRecord,
    PatchLimits,
    parse_header,
)
from sdk_contract.patch.errors import (
    BaseMismatch,
    BaseMissing,
    PatchCorrupt,
    PatchTruncated,
    TargetMismatch,
)
from sdk_contract.patch.index import PatchIndex, parse_index
from sdk_contract.patch.malloc_tuning import keep_freed_memory
from sdk_contract.patch.payload.block import make_target

CHUNK_SIZE = 1 << 20


class Source(Protocol):
    """The old file."""

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`.

        Raises:
            EOFError: the file is too short.
            OSError: the file cannot be read.
        """


class Target(Protocol):
    """The new file. `read` is called only when an applier resumes."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes at `offset`."""

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes that were written before."""


class Applier:
    """Builds the target from the source and a patch that is fed in pieces.

    Feed the head (header and index) first, then the bytes from `next_offset` on. With a parsed `index`, feed the bytes from
    `index.payload_offset(start_block)` on. To resume later, store the number that `feed` returns and pass it as
    `start_block`; the existing part of the target is then hashed and checked again.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        index_sha256: bytes | None = None,
        index: PatchIndex | None = None,
        limits: PatchLimits = DEFAULT_LIMITS,
        start_block: int = 0,
    ) -> None:
        """Prepare the applier; without an `index`, nothing is read or written yet.

        Args:
            source: the old file.
            target: the new file.
            index_sha256: the index digest from the signed descriptor; without it the patch has to be trusted already.
            index: the result of `parse_index`, if the head is known already.
            limits: the caller's limits.
            start_block: number of blocks that are already in the target.

        Raises:
            PatchCorrupt: `index` has fewer blocks than `start_block`.
            TargetMismatch: `index` is given, and the existing part of the target is corrupt.
        """
        keep_freed_memory()
        self._source, self._target = source, target
        self._index_sha256, self._limits = index_sha256, limits
        self._block, self._index = start_block, index
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._zstd = zstandard.ZstdDecompressor()
        if index is not None:
            self._hash_existing_blocks(index)

    @property
    def index(self) -> PatchIndex | None:
        """The header and records, once the head has arrived and was checked."""
        return self._index

    @property
    def blocks_done(self) -> int:
        """Number of blocks that are in the target and checked."""
        return self._block

    @property
    def next_offset(self) -> int:
        """Offset in the patch file of the next byte to feed."""
        front = 0 if self._index is None else self._index.payload_offset(self._block)
        return front + len(self._buffer)

    def feed(self, chunk: bytes | memoryview) -> int:
        """Take the next bytes of the patch, and apply every block that is complete.

        Returns:
            The number of blocks that are in the target now.

        Raises:
            PatchError: the patch or the source is wrong; nothing of the failed coded block was written.
        """
        self._buffer += chunk
        if self._index is None and not self._read_head():
            return self._block
        index = self._require_index()
        while self._block < len(index.records):
            record = index.records[self._block]
            if len(self._buffer) < record.payload_size:
                break
            payload = bytes(memoryview(self._buffer)[: record.payload_size])
            del self._buffer[: record.payload_size]
            self._apply_block(record, index.target_offset(self._block), payload)
            self._block += 1
        if self._block == len(index.records):
            self._buffer.clear()  # only notes follow the last payload
        return self._block

    def finish(self) -> None:
        """Check that the target is complete and has the digest from the header.

        Raises:
            PatchTruncated: blocks are missing.
            TargetMismatch: the target has the wrong digest.
        """
        if self._index is None or self._block < len(self._index.records):
            raise PatchTruncated(f"the patch ends after block {self._block}")
        if self._digest.digest() != self._index.header.target_sha256:
            raise TargetMismatch("the complete file has the wrong digest")

    def _require_index(self) -> PatchIndex:
        if self._index is None:
            raise PatchTruncated("the patch's index has not arrived yet")
        return self._index

    def _read_head(self) -> bool:
        if len(self._buffer) < PREAMBLE_SIZE:
            return False
        size = parse_header(bytes(self._buffer[:PREAMBLE_SIZE]), self._limits).head_size
        if len(self._buffer) < size:
            return False
        head = bytes(self._buffer[:size])
        index = parse_index(head, index_sha256=self._index_sha256, limits=self._limits)
        self._hash_existing_blocks(index)
        del self._buffer[:size]
        self._index = index
        return True

    def _hash_existing_blocks(self, index: PatchIndex) -> None:
        if not 0 <= self._block <= len(index.records):
            raise PatchCorrupt(f"the patch has no block {self._block} to resume at")
        end, offset = index.target_offset(self._block), 0
        while offset < end:
            chunk = self._target.read(offset, min(CHUNK_SIZE, end - offset))
            self._digest.update(chunk)
            offset += len(chunk)
        if (
            self._block
            and self._digest.digest()[:DIGEST_SIZE] != index.records[self._block - 1].target_digest
        ):
            raise TargetMismatch("the part of the target from before the resume is corrupt")

    def _apply_block(self, record: BlockRecord, offset: int, payload: bytes) -> None:
        if record.op is not BlockOp.CODED:
            self._apply_plain_block(record, offset)
            return
        if hashlib.sha256(payload).digest()[:DIGEST_SIZE] != record.payload_digest:
            raise PatchCorrupt(f"the payload of block {self._block} has the wrong digest")
        decoded = make_target(payload, record, self._read_source, self._zstd)
        digest = self._digest.copy()
        digest.update(decoded.data)
        self._accept_block(record, digest)
        self._target.write(offset, decoded.data)

    def _apply_plain_block(self, record: BlockRecord, offset: int) -> None:
        """Apply a copy or zero block in chunks, because it may be long, and check its digest at the end."""
        digest, done = self._digest.copy(), 0
        while done < record.target_size:
            length = min(CHUNK_SIZE, record.target_size - done)
            copy = record.op is BlockOp.COPY
            chunk = self._read_source(record.source_offset + done, length) if copy else bytes(length)
            digest.update(chunk)
            self._target.write(offset + done, chunk)
            done += length
        self._accept_block(record, digest)

    def _accept_block(self, record: BlockRecord, digest: "hashlib._Hash") -> None:
        if digest.digest()[:DIGEST_SIZE] != record.target_digest:
            error = TargetMismatch if record.op is BlockOp.ZERO else BaseMismatch
            raise error(f"block {self._block} has the wrong digest")
        self._digest = digest

    def _read_source(self, offset: int, length: int) -> bytes:
        try:
            data = self._source.read(offset, length)
        except (EOFError, OSError) as error:
            raise BaseMissing(str(error)) from error
        if len(data) != length:
            raise BaseMissing(f"the source has no {length} bytes at {offset}")
        return data
