"""Taking the new file back to the old one with the same patch, where the patch can."""

import hashlib
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

from sdk_contract.patch.apply import PIECE, Source, Target
from sdk_contract.patch.block import make_source
from sdk_contract.patch.container import (
    DEFAULT_LIMITS,
    DIGEST_SIZE,
    EMPTY_DIGEST,
    PREAMBLE_SIZE,
    Limits,
    Op,
    Record,
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
from sdk_contract.patch.files import AppliedPatch, FileRange, replacing
from sdk_contract.patch.index import PatchIndex, open_patch


def read_index(
    patch: BinaryIO, *, index_sha256: bytes | None = None, limits: Limits = DEFAULT_LIMITS
) -> PatchIndex:
    """Header and index from the front of a patch file; leaves it at the first payload.

    Raises:
        PatchError: as `open_patch`.
    """
    front = patch.read(PREAMBLE_SIZE)
    size = parse_header(front, limits).head_size
    return open_patch(front + patch.read(size - len(front)), index_sha256=index_sha256, limits=limits)


def reverse_patch(
    target_path: Path,
    patch_path: Path,
    source_path: Path,
    *,
    index_sha256: bytes | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> AppliedPatch:
    """Make the old file from the new file and the patch between them.

    Args:
        target_path: the new file.
        patch_path: a patch whose index says that it is reversible.
        source_path: where the old file goes; appears only when every digest is right.
        index_sha256: the index digest from the signed descriptor, when there is one.
        limits: what the caller is willing to spend.

    Raises:
        NotReversible: the patch is not.
        PatchError: the patch, the new file or the result is not what it should be.
        OSError: a file cannot be opened or written.
    """
    started = time.perf_counter()
    with target_path.open("rb") as new, patch_path.open("rb") as patch, replacing(source_path) as old:
        index = read_index(patch, index_sha256=index_sha256, limits=limits)
        if not index.header.reversible:
            raise NotReversible("the index says that the patch is not reversible")
        result = FileRange(old)
        _reverse(index, patch, FileRange(new), result)
        _check_whole(result, index)
    seconds = time.perf_counter() - started
    return AppliedPatch(len(index.records), index.header.source_size, seconds, index.header.source_sha256)


def _reverse(index: PatchIndex, patch: BinaryIO, new: Source, old: Target) -> None:
    decompressor = zstandard.ZstdDecompressor()
    running = hashlib.sha256()
    for block, record in enumerate(index.records):
        payload = patch.read(record.payload_size)
        if len(payload) != record.payload_size:
            raise PatchTruncated(f"ended in block {block}")
        offset = index.target_offset(block)
        if record.op is Op.CODED:
            _coded(record, payload, _read(new, offset, record.target_size, running), old, decompressor)
        else:
            _plain(record, offset, new, old, running)
        if running.digest()[:DIGEST_SIZE] != record.target_digest:
            raise BaseMismatch(f"block {block} of the new file is another one")


def _coded(
    record: Record, payload: bytes, made: bytes, old: Target, decompressor: zstandard.ZstdDecompressor
) -> None:
    if hashlib.sha256(payload).digest()[:DIGEST_SIZE] != record.payload_digest:
        raise PatchCorrupt("a payload has another digest")
    pieces = make_source(payload, record, np.frombuffer(made, np.uint8), decompressor)
    if record.source_digest != EMPTY_DIGEST:
        digest = hashlib.sha256(b"".join(piece.tobytes() for _, piece in pieces))
        if digest.digest()[:DIGEST_SIZE] != record.source_digest:
            raise BaseMismatch("a block does not come out right")
    for offset, piece in pieces:
        old.write(offset, piece.tobytes())


def _plain(record: Record, offset: int, new: Source, old: Target, running: "hashlib._Hash") -> None:
    for at in range(0, record.target_size, PIECE):
        piece = _read(new, offset + at, min(PIECE, record.target_size - at), running)
        if record.op is Op.COPY:
            old.write(record.source_offset + at, piece)


def _read(new: Source, offset: int, size: int, running: "hashlib._Hash") -> bytes:
    try:
        data = new.read(offset, size)
    except (EOFError, OSError) as error:
        raise BaseMissing(str(error)) from error
    running.update(data)
    return data


def _check_whole(old: Target, index: PatchIndex) -> None:
    """Blocks come in the order of the new file, so the old one is hashed when it is whole."""
    digest, size = hashlib.sha256(), index.header.source_size
    for at in range(0, size, PIECE):
        try:
            digest.update(old.read(at, min(PIECE, size - at)))
        except EOFError as error:
            raise TargetMismatch("the old file is not whole") from error
    if digest.digest() != index.header.source_sha256:
        raise TargetMismatch("the old file has another digest")
