"""Applies patches to local files; the new file appears complete or not at all."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdk_contract.patch.apply import CHUNK_SIZE, Applier
from sdk_contract.patch.container import DEFAULT_LIMITS, PatchLimits
from sdk_contract.patch.errors import PatchTruncated

# Bytes of a new file after which the system is told to write them to the disk.
WRITEBACK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """The result of `apply_patch` or `reverse_patch`."""

    blocks: int
    bytes_written: int
    seconds: float
    target_sha256: bytes


class FileRange:
    """A local file that is read and written by range."""

    def __init__(self, file: BinaryIO) -> None:
        """Use an open file, which the caller closes."""
        self._fd = file.fileno()

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`.

        Raises:
            EOFError: the file is too short.
        """
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise EOFError(f"{length} bytes at {offset}")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes at `offset`."""
        left = memoryview(data)
        while left:
            written = os.pwrite(self._fd, left, offset)
            left, offset = left[written:], offset + written


class SequentialFile(FileRange):
    """A file that is written from front to back, and of which only the end stays in the page cache.

    The disk writes start early instead of all at the last sync, and the pages are reused. Otherwise a large file would
    evict the device's other data from memory, and allocating its pages can take as long as producing its bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Use an open file, which the caller closes."""
        super().__init__(file)
        self._flushed_end = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes at `offset`, which has to be the end of the previous write."""
        super().write(offset, data)
        end = offset + len(data)
        if end - self._flushed_end >= WRITEBACK_BYTES:
            self._flushed_end = end
            drop_page_cache(self._fd, end)


def drop_page_cache(fd: int, end: int = 0) -> None:
    """Advise the system to write the file up to `end` (0: all of it) to the disk, and to drop it from the page cache.

    Linux starts to write dirty pages, and drops clean ones. Systems that ignore the advice still write a correct file.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, end, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def atomic_replace(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces `path` if the `with` block succeeds, and is deleted otherwise.

    The old file is never written to, because another process may have it mapped.
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
    limits: PatchLimits = DEFAULT_LIMITS,
) -> AppliedPatch:
    """Build the target file from the source file and a patch file.

    The target is written to a temporary file, and renamed only after all digests are verified.

    Args:
        source_path: the old file.
        patch_path: the patch.
        target_path: the new file; an existing file is replaced.
        index_sha256: the index digest from the signed descriptor, if there is one.
        limits: the caller's limits.

    Raises:
        PatchError: the patch, the source or the result is wrong.
        OSError: a file cannot be opened or written.
    """
    started = time.perf_counter()
    with (
        source_path.open("rb") as source,
        patch_path.open("rb") as patch,
        atomic_replace(target_path) as target,
    ):
        applier = Applier(FileRange(source), SequentialFile(target), index_sha256=index_sha256, limits=limits)
        while chunk := patch.read(CHUNK_SIZE):
            applier.feed(chunk)
        applier.finish()
        index = applier.index
    if index is None:
        raise PatchTruncated("the patch has no index")
    seconds = time.perf_counter() - started
    return AppliedPatch(len(index.records), index.header.target_size, seconds, index.header.target_sha256)
