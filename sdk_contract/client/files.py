"""Every change that the client makes to the disk, and the one place that says what must be synced.

The rules: content is synced before a name points at it; a name is synced before anything counts on it;
whatever exists under its final name is never written again. Everything that the client writes goes
through `Files`, so that a test can stop the world between any two calls.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from sdk_contract.patch.files import let_go

_PIECE = 1 << 20
LET_GO_FROM = 4 << 20
"""Bytes written, and synced, after which a file's pages are let go of; records and keys stay where they are."""


class OpenFile(Protocol):
    """A file that is being written; positions are absolute, in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """All of `data` at `offset`."""

    def truncate(self, size: int) -> None:
        """Cut or grow to `size` bytes."""

    def sync(self) -> None:
        """Return once the content survives a power cut."""

    def close(self) -> None:
        """Let go of the file; syncs nothing."""


class Files(Protocol):
    """The operations that change the disk. All raise `OSError`."""

    def open(self, path: Path) -> OpenFile:
        """Open for reading and writing; made empty, mode 0600, where it is missing."""

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, atomically, over what was there."""

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is missing is fine."""

    def make_directory(self, path: Path) -> None:
        """Make one directory, mode 0700; one that exists is fine."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory; one that is missing is fine."""

    def symlink(self, target: str, path: Path) -> None:
        """Make `path` point at `target`."""

    def sync_directory(self, path: Path) -> None:
        """Return once the names in `path` survive a power cut."""

    def free_bytes(self, path: Path) -> int:
        """Room left on the disk that holds `path`."""


class _DiskFile:
    """A file of which the system keeps little in memory, however much is written.

    Models are read from the disk when they are used. Kept in memory behind the writer, one of several gigabytes would
    push out what the device is working with.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._written = 0

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        self._written += len(view)
        while view:
            written = os.pwrite(self._fd, view, offset)
            offset += written
            view = view[written:]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)
        if self._written >= LET_GO_FROM:
            self._written = 0
            let_go(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class DiskFiles:
    """`Files` on the operating system."""

    def open(self, path: Path) -> OpenFile:
        """See `Files`."""
        return _DiskFile(path)

    def rename(self, source: Path, target: Path) -> None:
        """See `Files`."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See `Files`."""
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        """See `Files`."""
        path.mkdir(mode=0o700, exist_ok=True)

    def remove_directory(self, path: Path) -> None:
        """See `Files`."""
        if path.exists():
            path.rmdir()

    def symlink(self, target: str, path: Path) -> None:
        """See `Files`."""
        path.symlink_to(target)

    def sync_directory(self, path: Path) -> None:
        """See `Files`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """See `Files`."""
        return shutil.disk_usage(path).free


def digest_of(handle: OpenFile, length: int) -> "tuple[hashlib._Hash, int]":
    """The running SHA-256 of the first `length` bytes; a fresh one, and 0, where there are fewer."""
    digest = hashlib.sha256()
    offset = 0
    while offset < length and (piece := handle.read(offset, min(_PIECE, length - offset))):
        digest.update(piece)
        offset += len(piece)
    return (digest, offset) if offset == length else (hashlib.sha256(), 0)


def replace(files: Files, path: Path, data: bytes) -> None:
    """Make `path` hold `data`, all of it or what it held before, whenever the power goes.

    Raises:
        OSError: nothing has changed under `path`.
    """
    temporary = path.with_name(path.name + ".new")
    handle = files.open(temporary)
    try:
        handle.truncate(0)
        handle.write(0, data)
        handle.sync()
    finally:
        handle.close()
    files.rename(temporary, path)
    files.sync_directory(path.parent)


def publish(files: Files, handle: OpenFile, temporary: Path, path: Path) -> None:
    """Give finished content its final name: sync it, close it, rename it, sync the name."""
    try:
        handle.sync()
    finally:
        handle.close()
    files.rename(temporary, path)
    files.sync_directory(path.parent)  # the new name first: between the two a file may have both, never none
    files.sync_directory(temporary.parent)
