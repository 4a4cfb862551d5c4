"""Patches from file to file: the new one appears whole, or not at all."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdk_contract.patch.apply import PIECE, Applier
from sdk_contract.patch.container import DEFAULT_LIMITS, Limits
from sdk_contract.patch.errors import PatchTruncated

# How much of a new file is written before the system is told to go on to the disk with it.
BEHIND = 32 << 20


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """What `apply_patch` did."""

    blocks: int
    bytes_written: int
    seconds: float
    target_sha256: bytes


class FileRange:
    """A local file, read and written by range."""

    def __init__(self, file: BinaryIO) -> None:
        """Use an open file; the caller closes it."""
        self._fd = file.fileno()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`."""
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise EOFError(f"{length} bytes at {offset}")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store the bytes at `offset`."""
        left = memoryview(data)
        while left:
            written = os.pwrite(self._fd, left, offset)
            left, offset = left[written:], offset + written


class NewFile(FileRange):
    """A file written from front to back, of which the system keeps only the end in memory.

    Its bytes go to the disk while the next ones are made, instead of all at the last sync, and the pages they were
    in are used again. Kept, a large file would push what a device is working with out of memory, and finding
    ever new pages for it can take as long as making its bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Use an open file; the caller closes it."""
        super().__init__(file)
        self._told = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store the bytes at `offset`, which is where the last ones ended."""
        super().write(offset, data)
        end = offset + len(data)
        if end - self._told >= BEHIND:
            self._told = end
            let_go(self._fd, end)


def let_go(fd: int, end: int = 0) -> None:
    """Begin to write the file's front up to `end` (0: all of it), and drop from memory what is on the disk already.

    Linux starts to write dirty pages at this advice and drops clean ones. It is advice: where it is not known or
    not taken, the file is as right without.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, end, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path` that becomes it when the block ends well, and vanishes when not.

    A file that some process has mapped is never written to: the rename gives the name to new blocks.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file.file  # type: ignore[misc]  # typeshed's wrapper hides the real file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def apply_patch(
    source_path: Path,
    patch_path: Path,
    target_path: Path,
    *,
    index_sha256: bytes | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> AppliedPatch:
    """Make the target file from the source file and a patch file.

    The target appears only when every digest is right: it is written beside, synced and renamed.

    Args:
        source_path: the old file.
        patch_path: the patch.
        target_path: where the new file goes; replaced when it exists.
        index_sha256: the index digest from the signed descriptor, when there is one.
        limits: what the caller is willing to spend.

    Raises:
        PatchError: the patch, the source or the result is not what it should be.
        OSError: a file cannot be opened or written.
    """
    started = time.perf_counter()
    with source_path.open("rb") as source, patch_path.open("rb") as patch, replacing(target_path) as target:
        applier = Applier(FileRange(source), NewFile(target), index_sha256=index_sha256, limits=limits)
        while chunk := patch.read(PIECE):
            applier.feed(chunk)
        applier.finish()
        index = applier.index
    if index is None:
        raise PatchTruncated("no index")
    seconds = time.perf_counter() - started
    return AppliedPatch(len(index.records), index.header.target_size, seconds, index.header.target_sha256)
