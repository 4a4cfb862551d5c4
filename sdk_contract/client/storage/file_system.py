"""All writes of the client to the disk, with the rules for syncing.

1. Content is synced before a name points to it.
2. A name is synced before anything depends on it.
3. A file with its final name is never written again.

The client writes through `FileSystem` only, so that a test can simulate a power cut between any two calls.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from sdk_contract.patch.files import drop_page_cache

_PIECE = 1 << 20
DROP_CACHE_BYTES = 4 << 20
"""Written bytes after which a sync also drops the file from the page cache; smaller files, such as keys, stay cached."""


class WritableFile(Protocol):
    """An open file for reading and writing. Offsets are absolute, in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; fewer at the end of the file."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`."""

    def truncate(self, size: int) -> None:
        """Shrink or extend the file to `size` bytes."""

    def sync(self) -> None:
        """Return once the content survives a power cut."""

    def close(self) -> None:
        """Close the file without a sync."""


class FileSystem(Protocol):
    """The disk operations of the client. All of them may raise `OSError`."""

    def open(self, path: Path) -> WritableFile:
        """Open a file for reading and writing; create it with mode 0600 if it is missing."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename `source` to `target` atomically, and replace an existing file."""

    def unlink(self, path: Path) -> None:
        """Delete a file, if it exists."""

    def make_directory(self, path: Path) -> None:
        """Create one directory with mode 0700, unless it exists."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory, if it exists."""

    def symlink(self, target: str, path: Path) -> None:
        """Create a symbolic link at `path` that points to `target`."""

    def sync_directory(self, path: Path) -> None:
        """Return once the names in `path` survive a power cut."""

    def free_bytes(self, path: Path) -> int:
        """Free space of the file system that contains `path`, bytes."""


class _DiskFile:
    """A file that leaves the page cache after it was written.

    A model of several gigabytes in the page cache would evict the data that the device is working with.
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
        if self._written >= DROP_CACHE_BYTES:
            self._written = 0
            drop_page_cache(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class LocalFileSystem:
    """`FileSystem` on the operating system's file system."""

    def open(self, path: Path) -> WritableFile:
        """See `FileSystem`."""
        return _DiskFile(path)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem`."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See `FileSystem`."""
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        """See `FileSystem`."""
        path.mkdir(mode=0o700, exist_ok=True)

    def remove_directory(self, path: Path) -> None:
        """See `FileSystem`."""
        if path.exists():
            path.rmdir()

    def symlink(self, target: str, path: Path) -> None:
        """See `FileSystem`."""
        path.symlink_to(target)

    def sync_directory(self, path: Path) -> None:
        """See `FileSystem`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """See `FileSystem`."""
        return shutil.disk_usage(path).free


def hash_prefix(handle: WritableFile, length: int) -> "tuple[hashlib._Hash, int]":
    """Hash the first `length` bytes.

    Returns:
        The running SHA-256 and `length`; a new hash and 0 if the file is shorter.
    """
    digest = hashlib.sha256()
    offset = 0
    while offset < length and (piece := handle.read(offset, min(_PIECE, length - offset))):
        digest.update(piece)
        offset += len(piece)
    return (digest, offset) if offset == length else (hashlib.sha256(), 0)


def write_atomically(file_system: FileSystem, path: Path, data: bytes) -> None:
    """Replace the content of `path` atomically, also across a power cut.

    Raises:
        OSError: `path` has its old content.
    """
    temporary = path.with_name(path.name + ".new")
    handle = file_system.open(temporary)
    try:
        handle.truncate(0)
        handle.write(0, data)
        handle.sync()
    finally:
        handle.close()
    file_system.rename(temporary, path)
    file_system.sync_directory(path.parent)


def publish_file(file_system: FileSystem, handle: WritableFile, temporary: Path, final_path: Path) -> None:
    """Move finished content to its final name: sync, close, rename, and sync the directories."""
    try:
        handle.sync()
    finally:
        handle.close()
    file_system.rename(temporary, final_path)
    file_system.sync_directory(
        final_path.parent
    )  # first, so that a power cut between the syncs leaves two names, not none
    file_system.sync_directory(temporary.parent)
