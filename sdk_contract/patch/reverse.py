"""Restores the old file from the new file and a reversible patch."""

import hashlib
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

from sdk_contract.patch.apply import CHUNK_SIZE, Source, Target
from sdk_contract.patch.container import (
    DEFAULT_LIMITS,
    DIGEST_SIZE,
    EMPTY_DIGEST,
    PREAMBLE_SIZE,
    BlockOp,
    BlockRecord,
    PatchLimits,
    parse_header,
)
from sdk_contract.patch.errors import (
    BaseMismatch,
    BaseMissing,
    NotReversible,
    PatchCorrupt,
    PatchTruncated,
    TargetMismatch,
)
from sdk_contract.patch.files import AppliedPatch, FileRange, atomic_replace
from sdk_contract.patch.index import PatchIndex, parse_index
from sdk_contract.patch.payload.block import make_source


def read_index(
    patch: BinaryIO, *, index_sha256: bytes | None = None, limits: PatchLimits = DEFAULT_LIMITS
) -> PatchIndex:
    """Read the header and index of a patch file, up to the first payload.

    Raises:
        PatchError: as `parse_index`.
    """
    front = patch.read(PREAMBLE_SIZE)
    size = parse_header(front, limits).head_size
    return parse_index(front + patch.read(size - len(front)), index_sha256=index_sha256, limits=limits)


def reverse_patch(
    target_path: Path,
    patch_path: Path,
    source_path: Path,
    *,
    index_sha256: bytes | None = None,
    limits: PatchLimits = DEFAULT_LIMITS,
) -> AppliedPatch:
    """Restore the old file from the new file and the patch between them.

    Args:
        target_path: the new file.
        patch_path: a reversible patch.
        source_path: the old file; it appears only after all digests are verified.
        index_sha256: the index digest from the signed descriptor, if there is one.
        limits: the caller's limits.

    Raises:
        NotReversible: the patch is not reversible.
        PatchError: the patch, the new file or the result is wrong.
        OSError: a file cannot be opened or written.
    """
    started = time.perf_counter()
    with target_path.open("rb") as new, patch_path.open("rb") as patch, atomic_replace(source_path) as old:
        index = read_index(patch, index_sha256=index_sha256, limits=limits)
        if not index.header.reversible:
            raise NotReversible("the patch was not built as reversible")
        result = FileRange(old)
        _reverse(index, patch, FileRange(new), result)
        _check_source_digest(result, index)
    seconds = time.perf_counter() - started
    return AppliedPatch(len(index.records), index.header.source_size, seconds, index.header.source_sha256)


def _reverse(index: PatchIndex, patch: BinaryIO, new: Source, old: Target) -> None:
    decompressor = zstandard.ZstdDecompressor()
    running = hashlib.sha256()
    for block, record in enumerate(index.records):
        payload = patch.read(record.payload_size)
        if len(payload) != record.payload_size:
            raise PatchTruncated(f"the patch ends in block {block}")
        offset = index.target_offset(block)
        if record.op is BlockOp.CODED:
            _reverse_coded_block(
                record, payload, _read_and_hash(new, offset, record.target_size, running), old, decompressor
            )
        else:
            _reverse_plain_block(record, offset, new, old, running)
        if running.digest()[:DIGEST_SIZE] != record.target_digest:
            raise BaseMismatch(f"block {block} of the new file has the wrong digest")


def _reverse_coded_block(
    record: BlockRecord,
    payload: bytes,
    new_bytes: bytes,
    old: Target,
    decompressor: zstandard.ZstdDecompressor,
) -> None:
    if hashlib.sha256(payload).digest()[:DIGEST_SIZE] != record.payload_digest:
        raise PatchCorrupt("a payload has the wrong digest")
    pieces = make_source(payload, record, np.frombuffer(new_bytes, np.uint8), decompressor)
    if record.source_digest != EMPTY_DIGEST:
        digest = hashlib.sha256(b"".join(piece.tobytes() for _, piece in pieces))
        if digest.digest()[:DIGEST_SIZE] != record.source_digest:
            raise BaseMismatch("a restored block has the wrong digest")
    for offset, piece in pieces:
        old.write(offset, piece.tobytes())


def _reverse_plain_block(
    record: BlockRecord, offset: int, new: Source, old: Target, running: "hashlib._Hash"
) -> None:
    for at in range(0, record.target_size, CHUNK_SIZE):
        piece = _read_and_hash(new, offset + at, min(CHUNK_SIZE, record.target_size - at), running)
        if record.op is BlockOp.COPY:
            old.write(record.source_offset + at, piece)


def _read_and_hash(new: Source, offset: int, size: int, running: "hashlib._Hash") -> bytes:
    try:
        data = new.read(offset, size)
    except (EOFError, OSError) as error:
        raise BaseMissing(str(error)) from error
    running.update(data)
    return data


def _check_source_digest(old: Target, index: PatchIndex) -> None:
    """Hash the complete old file; this is not possible earlier, because blocks are in the new file's order."""
    digest, size = hashlib.sha256(), index.header.source_size
    for at in range(0, size, CHUNK_SIZE):
        try:
            digest.update(old.read(at, min(CHUNK_SIZE, size - at)))
        except EOFError as error:
            raise TargetMismatch("the restored file is incomplete") from error
    if digest.digest() != index.header.source_sha256:
        raise TargetMismatch("the restored file has the wrong digest")
