"""What an in-place update overwrote: enough to read the old file, and to bring it back.

The log is also the journal: an entry is on disk before its range is written, so its last entry says where the work
stands. Entries hold the old bytes as differences to the new ones, compressed: about as much as the patch. The
range being written may be torn between old and new, so its bytes also lie, raw, in the *slot*.
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
from sdk_contract.client.files import Files, OpenFile

MAX_RANGE = 16 << 20
"""Most bytes that are overwritten between two entries; bounds the slot and the memory."""
_ENTRY = struct.Struct("<4sIQIII16s")
_SLOT = struct.Struct("<4sBxxxIQI16s")
_ENTRY_MAGIC = b"GLU1"
_SLOT_MAGIC = b"GLS1"
_LEVEL = 1


class Direction(IntEnum):
    """Which way the range in the slot was going."""

    FORWARD = 1
    BACK = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One overwritten range.

    Attributes:
        number: from 0, without gaps.
        offset: of the range, in both files.
        old_size, new_size: of the range in each; they differ only at the end of the shorter file.
        position, size: of the compressed differences in the log.
        old_digest: first 16 bytes of the old bytes' SHA-256.
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
        """First byte behind the range, in the longer file."""
        return self.offset + max(self.old_size, self.new_size)


@dataclass(frozen=True, slots=True)
class Slot:
    """The range under way, as it was before."""

    direction: Direction
    number: int
    offset: int
    data: bytes


class UndoLog:
    """Entries and slot of one file; both are opened once and closed by `close`."""

    def __init__(self, files: Files, path: Path) -> None:
        """Open, or make, and read what is intact.

        Raises:
            OSError: of the disk.
        """
        self._log: OpenFile = files.open(path)
        self._slot: OpenFile = files.open(path.with_name(path.name + ".slot"))
        files.sync_directory(path.parent)
        self.entries: list[Entry] = list(self._scan())

    def close(self) -> None:
        """Let go of both files."""
        self._log.close()
        self._slot.close()

    def append(self, offset: int, old: bytes, new: bytes, *, sync: bool) -> None:
        """Write an entry; with `sync` it is there for good when this returns."""
        number, position = len(self.entries), self._end()
        blob = zstandard.ZstdCompressor(level=_LEVEL).compress(_difference(old, new))
        head = _ENTRY.pack(_ENTRY_MAGIC, number, offset, len(old), len(new), len(blob), _digest(old))
        head += _digest(head + blob)
        self._log.write(position, head + blob)
        if sync:
            self._log.sync()
        start = position + len(head)
        self.entries.append(Entry(number, offset, len(old), len(new), start, len(blob), _digest(old)))

    def drop_last(self) -> None:
        """Forget the last entry, for good."""
        entry = self.entries.pop()
        self._log.truncate(entry.position - _ENTRY.size - 16)
        self._log.sync()

    def old_bytes(self, entry: Entry, new: bytes) -> bytes:
        """The old bytes of a range, from the new ones.

        Raises:
            StorageFailed: log or file have rotted.
        """
        blob = self._log.read(entry.position, entry.size)
        try:
            difference = zstandard.ZstdDecompressor().decompress(blob, max_output_size=MAX_RANGE)
        except zstandard.ZstdError as error:
            raise StorageFailed("the undo log is damaged") from error
        old = _old(difference, new)
        if _digest(old) != entry.old_digest:
            raise StorageFailed(f"the range at {entry.offset} cannot be brought back")
        return old

    def fill_slot(self, slot: Slot) -> None:
        """Keep a range raw, for good, before it is written over."""
        head = _SLOT.pack(
            _SLOT_MAGIC, slot.direction, slot.number, slot.offset, len(slot.data), _digest(slot.data)
        )
        self._slot.write(0, head + slot.data)
        self._slot.sync()

    def slot(self) -> Slot | None:
        """The range in the slot, if it is whole."""
        head = self._slot.read(0, _SLOT.size)
        if len(head) < _SLOT.size:
            return None
        magic, direction, number, offset, size, digest = _SLOT.unpack(head)
        if magic != _SLOT_MAGIC or size > MAX_RANGE:
            return None
        data = self._slot.read(_SLOT.size, size)
        return Slot(Direction(direction), number, offset, data) if _digest(data) == digest else None

    def _end(self) -> int:
        return self.entries[-1].position + self.entries[-1].size if self.entries else 0

    def _scan(self) -> Iterator[Entry]:
        """Entries up to the first that is torn or missing; what follows it was never acted upon."""
        position, number = 0, 0
        while len(head := self._log.read(position, _ENTRY.size + 16)) == _ENTRY.size + 16:
            magic, found, offset, old_size, new_size, size, digest = _ENTRY.unpack_from(head)
            if magic != _ENTRY_MAGIC or found != number or max(old_size, new_size) > MAX_RANGE:
                return
            blob = self._log.read(position + len(head), min(size, 2 * MAX_RANGE))
            if _digest(head[: _ENTRY.size] + blob) != head[_ENTRY.size :] or len(blob) != size:
                return
            yield Entry(number, offset, old_size, new_size, position + len(head), size, digest)
            position, number = position + len(head) + size, number + 1


def _difference(old: bytes, new: bytes) -> bytes:
    shared = min(len(old), len(new))
    before, after = np.frombuffer(old[:shared], np.uint8), np.frombuffer(new[:shared], np.uint8)
    return (before - after).tobytes() + old[shared:]


def _old(difference: bytes, new: bytes) -> bytes:
    shared = min(len(difference), len(new))
    change, after = np.frombuffer(difference[:shared], np.uint8), np.frombuffer(new[:shared], np.uint8)
    return (change + after).tobytes() + difference[shared:]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]
