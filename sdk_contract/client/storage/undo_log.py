"""The undo log of an in-place update. It can read and restore the old file.

An entry is on disk before its range is overwritten, so the last entry also marks the progress. An entry contains the
compressed differences between old and new bytes, about as large as the patch. A power cut may tear the range that is
being written, so the raw old bytes of that range are also in the *range backup* (a double-write buffer).
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import zstandard

from sdk_contract.client.errors import StorageFailed
from sdk_contract.client.storage.file_system import FileSystem, WritableFile

MAX_RANGE_BYTES = 16 << 20
"""Maximum size of one overwritten range, bytes; limits the range backup and the memory."""
_ENTRY = struct.Struct("<4sIQIII16s")
_BACKUP = struct.Struct("<4sBxxxIQI16s")
_ENTRY_MAGIC = b"GLU1"
_BACKUP_MAGIC = b"GLS1"
_LEVEL = 1


class Direction(IntEnum):
    """Whether the range in the backup was being updated or reverted."""

    FORWARD = 1
    BACKWARD = 2


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """One overwritten range.

    Attributes:
        number: position in the log, from 0 without gaps.
        offset: of the range, in both files.
        old_size, new_size: of the range in each file; they differ only at the end of the shorter file.
        position, size: of the compressed differences in the log file.
        old_digest: first 16 bytes of the SHA-256 of the old bytes.
    """

    number: int
    offset: int
    old_size: int
    new_size: int
    position: int
    size: int
    old_digest: bytes

    @property
    def end(self) -> int:
        """First byte after the range, in the longer file."""
        return self.offset + max(self.old_size, self.new_size)


@dataclass(frozen=True, slots=True)
class RangeBackup:
    """The raw content that a range had before it was overwritten.

    Attributes:
        direction: whether the range was being updated or reverted.
        number: of the range's entry in the log.
        offset: of the range.
        data: its previous bytes.
    """

    direction: Direction
    number: int
    offset: int
    data: bytes


class UndoLog:
    """The log and the range backup of one file. Both stay open until `close`."""

    def __init__(self, file_system: FileSystem, path: Path) -> None:
        """Open or create both files, and read the intact entries.

        Raises:
            OSError: the disk failed.
        """
        self._log: WritableFile = file_system.open(path)
        self._backup: WritableFile = file_system.open(path.with_name(path.name + ".backup"))
        file_system.sync_directory(path.parent)
        self.entries: list[UndoEntry] = list(self._scan())

    def close(self) -> None:
        """Close both files."""
        self._log.close()
        self._backup.close()

    def append(self, offset: int, old: bytes, new: bytes, *, sync: bool) -> None:
        """Append an entry; with `sync` it survives a power cut once this returns."""
        number, position = len(self.entries), self._end()
        blob = zstandard.ZstdCompressor(level=_LEVEL).compress(_difference(old, new))
        head = _ENTRY.pack(_ENTRY_MAGIC, number, offset, len(old), len(new), len(blob), _digest(old))
        head += _digest(head + blob)
        self._log.write(position, head + blob)
        if sync:
            self._log.sync()
        start = position + len(head)
        self.entries.append(UndoEntry(number, offset, len(old), len(new), start, len(blob), _digest(old)))

    def remove_last(self) -> None:
        """Remove the last entry, and sync the log."""
        entry = self.entries.pop()
        self._log.truncate(entry.position - _ENTRY.size - 16)
        self._log.sync()

    def old_bytes(self, entry: UndoEntry, new: bytes) -> bytes:
        """Compute the old bytes of a range from its new bytes.

        Raises:
            StorageFailed: the log or the file is corrupt.
        """
        blob = self._log.read(entry.position, entry.size)
        try:
            difference = zstandard.ZstdDecompressor().decompress(blob, max_output_size=MAX_RANGE_BYTES)
        except zstandard.ZstdError as error:
            raise StorageFailed("the undo log is corrupt") from error
        old = _restore_old(difference, new)
        if _digest(old) != entry.old_digest:
            raise StorageFailed(f"the old bytes at offset {entry.offset} cannot be restored")
        return old

    def write_backup(self, backup: RangeBackup) -> None:
        """Store the raw bytes of a range before it is overwritten, and sync them."""
        head = _BACKUP.pack(
            _BACKUP_MAGIC,
            backup.direction,
            backup.number,
            backup.offset,
            len(backup.data),
            _digest(backup.data),
        )
        self._backup.write(0, head + backup.data)
        self._backup.sync()

    def read_backup(self) -> RangeBackup | None:
        """Return the range backup, if it is intact."""
        head = self._backup.read(0, _BACKUP.size)
        if len(head) < _BACKUP.size:
            return None
        magic, direction, number, offset, size, digest = _BACKUP.unpack(head)
        if magic != _BACKUP_MAGIC or size > MAX_RANGE_BYTES:
            return None
        data = self._backup.read(_BACKUP.size, size)
        return RangeBackup(Direction(direction), number, offset, data) if _digest(data) == digest else None

    def _end(self) -> int:
        return self.entries[-1].position + self.entries[-1].size if self.entries else 0

    def _scan(self) -> Iterator[UndoEntry]:
        """Yield the entries up to the first torn or missing one; no later entry was ever acted on."""
        position, number = 0, 0
        while len(head := self._log.read(position, _ENTRY.size + 16)) == _ENTRY.size + 16:
            magic, entry_number, offset, old_size, new_size, size, digest = _ENTRY.unpack_from(head)
            if magic != _ENTRY_MAGIC or entry_number != number or max(old_size, new_size) > MAX_RANGE_BYTES:
                return
            blob = self._log.read(position + len(head), min(size, 2 * MAX_RANGE_BYTES))
            if _digest(head[: _ENTRY.size] + blob) != head[_ENTRY.size :] or len(blob) != size:
                return
            yield UndoEntry(number, offset, old_size, new_size, position + len(head), size, digest)
            position, number = position + len(head) + size, number + 1


def _difference(old: bytes, new: bytes) -> bytes:
    shared = min(len(old), len(new))
    before, after = np.frombuffer(old[:shared], np.uint8), np.frombuffer(new[:shared], np.uint8)
    return (before - after).tobytes() + old[shared:]


def _restore_old(difference: bytes, new: bytes) -> bytes:
    shared = min(len(difference), len(new))
    change, after = np.frombuffer(difference[:shared], np.uint8), np.frombuffer(new[:shared], np.uint8)
    return (change + after).tobytes() + difference[shared:]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]
