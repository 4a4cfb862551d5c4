"""In-place updates: a patch overwrites its source file, for devices without space for a second copy.

This needs space for the patch, for an undo log of about the same size, and for one range. For each range three writes
are synced in order: the range backup (raw old bytes), the log entry, and the range itself.

An interrupted update can be continued, because the patch is on disk and the log returns old bytes. It can also be
reverted, range by range from the last to the first. Meanwhile the file is not among the objects, so nothing can load it.
"""

from bisect import bisect_right
from collections import deque
from contextlib import closing
from pathlib import Path

from sdk_contract.client.errors import StorageFailed
from sdk_contract.client.storage.client_state import InPlaceStep
from sdk_contract.client.storage.file_system import hash_prefix
from sdk_contract.client.storage.store import CHUNK, Store
from sdk_contract.client.storage.undo_log import Direction, RangeBackup, UndoEntry, UndoLog
from sdk_contract.errors import OutputHashMismatch
from sdk_contract.patch import Applier, BaseMissing, parse_header, parse_index
from sdk_contract.patch.container import PREAMBLE_SIZE

_CACHED_RANGES = 3


def apply_in_place(store: Store, step: InPlaceStep) -> None:
    """Turn the source object into the target object. The call is safe to repeat after an interruption.

    Raises:
        ContractError: the patch does not fit; `revert_in_place` restores the source.
        OSError: the disk failed; call again.
    """
    if store.has_object(step.target.sha256, step.target.size):
        return
    _remove_stale_log(store, step)
    _move_to_working_file(store, step.source.sha256, step)
    with closing(_InPlaceFile(store, step)) as file:
        file.recover()
        file.apply(store.partial / step.patch_sha256)
    _move_to_objects(store, step, step.target.sha256)


def revert_in_place(store: Store, step: InPlaceStep) -> None:
    """Restore the source object from any state in between. The call is safe to repeat after an interruption.

    Raises:
        StorageFailed: the file or the log is corrupt.
        OSError: the disk failed; call again.
    """
    working = store.in_place / step.target.sha256
    if store.has_object(step.source.sha256, step.source.size) and not working.exists():
        return
    _move_to_working_file(store, step.target.sha256, step)
    with closing(_InPlaceFile(store, step)) as file:
        file.recover()
        file.revert()
    _move_to_objects(store, step, step.source.sha256)


def _remove_stale_log(store: Store, step: InPlaceStep) -> None:
    """Delete the log of an earlier attempt, which was reverted."""
    working = store.in_place / step.target.sha256
    if not working.exists():
        log = log_path(working)
        store.file_system.unlink(log)
        store.file_system.unlink(log.with_name(log.name + ".backup"))
        store.file_system.sync_directory(store.in_place)


def _move_to_working_file(store: Store, name: str, step: InPlaceStep) -> None:
    """Move the object to its working name, so that no start can load it."""
    working = store.in_place / step.target.sha256
    if not working.exists():
        if not (store.objects / name).exists():
            raise BaseMissing(f"the patch's source {name[:12]} is not on this device")
        store.file_system.rename(store.objects / name, working)
        store.file_system.sync_directory(store.in_place)
    # A power cut may leave both names, so the name of a complete file is removed before any change.
    store.file_system.unlink(store.objects / name)
    store.file_system.sync_directory(store.objects)


def _move_to_objects(store: Store, step: InPlaceStep, name: str) -> None:
    store.file_system.rename(store.in_place / step.target.sha256, store.objects / name)
    store.file_system.sync_directory(store.objects)
    store.file_system.sync_directory(store.in_place)


class _InPlaceFile:
    """The working file of an in-place update, with its undo log."""

    def __init__(self, store: Store, step: InPlaceStep) -> None:
        working = store.in_place / step.target.sha256
        self.step = step
        self.handle = store.file_system.open(working)
        self.log = UndoLog(store.file_system, log_path(working))

    def close(self) -> None:
        self.handle.close()
        self.log.close()

    @property
    def written_end(self) -> int:
        """End of the part that already has new content."""
        return self.log.entries[-1].end if self.log.entries else 0

    def recover(self) -> None:
        """Repair the range that an interruption may have torn.

        Afterwards the ranges of all entries have new bytes, and the rest of the file has old bytes.
        """
        backup, entries = self.log.read_backup(), self.log.entries
        if backup is None or not entries or backup.number != entries[-1].number:
            return
        self.handle.write(backup.offset, backup.data)
        self.handle.sync()
        if backup.direction is Direction.FORWARD:
            self.log.remove_last()

    def apply(self, patch: Path) -> None:
        step, target = self.step, _TargetWriter(self)
        with patch.open("rb") as stream:
            size = parse_header(stream.read(PREAMBLE_SIZE)).head_size
            stream.seek(0)
            index = parse_index(stream.read(size), index_sha256=bytes.fromhex(step.index_sha256))
            if index.header.target_sha256.hex() != step.target.sha256:
                raise OutputHashMismatch("the patch has another target")
            start = sum(
                index.target_offset(block + 1) <= self.written_end for block in range(len(index.records))
            )
            applier = Applier(_SourceReader(self, target), target, index=index, start_block=start)
            applier.feed(b"")  # applies leading blocks without a payload
            stream.seek(applier.next_offset)
            while applier.blocks_done < len(index.records) and (chunk := stream.read(CHUNK)):
                applier.feed(chunk)
            applier.finish()
        target.flush()
        while self.written_end < step.source.size:  # logs the rest of a longer old file before it is cut off
            self.overwrite(self.written_end, b"", min(step.range_size, step.source.size - self.written_end))
        self.handle.truncate(step.target.size)
        self.handle.sync()

    def overwrite(self, offset: int, new: bytes, length: int) -> bytes:
        """Overwrite a range with backup and log entry, and return its old bytes."""
        old = self.handle.read(offset, max(0, min(length, self.step.source.size - offset)))
        if old == new:
            self.log.append(
                offset, old, new, sync=False
            )  # nothing is written, so the entry only marks the progress
            return old
        self.log.write_backup(RangeBackup(Direction.FORWARD, len(self.log.entries), offset, old))
        self.log.append(offset, old, new, sync=True)
        self.handle.write(offset, new)
        self.handle.sync()
        return old

    def revert(self) -> None:
        while self.log.entries:
            entry = self.log.entries[-1]
            new = self.handle.read(entry.offset, entry.new_size)
            old = self.log.old_bytes(entry, new)
            if old != new:
                self.log.write_backup(RangeBackup(Direction.BACKWARD, entry.number, entry.offset, new))
                self.handle.write(entry.offset, old)
                self.handle.sync()
            self.log.remove_last()
        self.handle.truncate(self.step.source.size)
        self.handle.sync()
        if hash_prefix(self.handle, self.step.source.size)[0].hexdigest() != self.step.source.sha256:
            raise StorageFailed("the old file cannot be restored from the undo log")


class _TargetWriter:
    """Receives the new file from the applier, and collects its bytes into ranges."""

    def __init__(self, file: _InPlaceFile) -> None:
        self._file = file
        self._batch = bytearray()
        self.recent_ranges: deque[tuple[int, bytes]] = deque(maxlen=_CACHED_RANGES)

    def read(self, offset: int, length: int) -> bytes:
        """Read what was written before an interruption."""
        return self._file.handle.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write a block, and skip the part of it that was written before an interruption."""
        already_written = self._file.written_end + len(self._batch) - offset
        self._batch += memoryview(data)[max(0, already_written) :]
        size = self._file.step.range_size
        while len(self._batch) >= size:
            self._write(bytes(self._batch[:size]))

    def flush(self) -> None:
        if self._batch:
            self._write(bytes(self._batch))

    def _write(self, new: bytes) -> None:
        del self._batch[: len(new)]
        offset = self._file.written_end
        self.recent_ranges.append((offset, self._file.overwrite(offset, new, len(new))))


class _SourceReader:
    """Reads the old file for the applier; overwritten parts come from memory or from the undo log."""

    def __init__(self, file: _InPlaceFile, target: _TargetWriter) -> None:
        self._file, self._target = file, target

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            piece = self._read_piece(offset, length)
            if not piece:
                raise EOFError(f"{length} bytes at {offset}")
            parts.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(parts)

    def _read_piece(self, offset: int, length: int) -> bytes:
        if offset >= self._file.written_end:
            end = min(offset + length, self._file.step.source.size)
            return self._file.handle.read(offset, max(0, end - offset))
        for start, data in self._target.recent_ranges:
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + length]
        entry = self._find_entry(offset)
        old = self._file.log.old_bytes(entry, self._file.handle.read(entry.offset, entry.new_size))
        self._target.recent_ranges.append((entry.offset, old))
        return old[offset - entry.offset : offset - entry.offset + length]

    def _find_entry(self, offset: int) -> UndoEntry:
        entries = self._file.log.entries
        return entries[bisect_right(entries, offset, key=lambda entry: entry.offset) - 1]


def log_path(working: Path) -> Path:
    """Path of a working file's undo log; its range backup has the additional suffix `.backup`."""
    return working.with_name(working.name + ".log")
