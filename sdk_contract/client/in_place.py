"""Updating a file inside itself, for devices without room for a second copy.

Needs the patch, an undo log of about the same size and one slot, instead of a whole new file. For each range:
the slot is synced (raw old bytes), the log entry is synced, the range is written and synced. Whatever is interrupted
can be finished forwards, because the patch is here and the old bytes can be read from the log, and undone, range by
range, from the last to the first. While it lasts the file has no name among the objects, so nobody can load it.
"""

from bisect import bisect_right
from collections import deque
from contextlib import closing
from pathlib import Path

from sdk_contract.client.errors import BaseMissing, StorageFailed
from sdk_contract.client.files import digest_of
from sdk_contract.client.record import InPlaceStep
from sdk_contract.client.store import CHUNK, Store
from sdk_contract.client.undo_log import Direction, Entry, Slot, UndoLog
from sdk_contract.errors import OutputHashMismatch
from sdk_contract.patch import Applier, open_patch, parse_header
from sdk_contract.patch.container import PREAMBLE_SIZE

_KEPT_RANGES = 3


def forward(store: Store, step: InPlaceStep) -> None:
    """Turn the source object into the target object; safe to repeat after any interruption.

    Raises:
        ContractError: the patch does not fit; `backward` brings the source back.
        OSError: of the disk; call again.
    """
    if store.has(step.target.sha256, step.target.size):
        return
    _start_afresh(store, step)
    _take_out(store, step.source.sha256, step)
    with closing(_Work(store, step)) as work:
        work.recover()
        work.apply(store.partial / step.patch_sha256)
    _put_back(store, step, step.target.sha256)


def backward(store: Store, step: InPlaceStep) -> None:
    """Turn whatever is there back into the source object; safe to repeat after any interruption.

    Raises:
        StorageFailed: file or log have rotted.
        OSError: of the disk; call again.
    """
    working = store.in_place / step.target.sha256
    if store.has(step.source.sha256, step.source.size) and not working.exists():
        return
    _take_out(store, step.target.sha256, step)
    with closing(_Work(store, step)) as work:
        work.recover()
        work.undo()
    _put_back(store, step, step.source.sha256)


def _start_afresh(store: Store, step: InPlaceStep) -> None:
    """A log of an earlier, undone attempt must not be taken for one of this."""
    working = store.in_place / step.target.sha256
    if not working.exists():
        log = log_path(working)
        store.files.unlink(log)
        store.files.unlink(log.with_name(log.name + ".slot"))
        store.files.sync_directory(store.in_place)


def _take_out(store: Store, name: str, step: InPlaceStep) -> None:
    """Give the object its working name: from now on no start can mistake it for a whole file."""
    working = store.in_place / step.target.sha256
    if not working.exists():
        if not (store.objects / name).exists():
            raise BaseMissing(f"{name[:12]} is not here")
        store.files.rename(store.objects / name, working)
        store.files.sync_directory(store.in_place)
    # A power cut may have left both names; the one that promises a whole file has to go first.
    store.files.unlink(store.objects / name)
    store.files.sync_directory(store.objects)


def _put_back(store: Store, step: InPlaceStep, name: str) -> None:
    store.files.rename(store.in_place / step.target.sha256, store.objects / name)
    store.files.sync_directory(store.objects)
    store.files.sync_directory(store.in_place)


class _Work:
    """One file on its way, with its log."""

    def __init__(self, store: Store, step: InPlaceStep) -> None:
        working = store.in_place / step.target.sha256
        self.step = step
        self.file = store.files.open(working)
        self.log = UndoLog(store.files, log_path(working))

    def close(self) -> None:
        self.file.close()
        self.log.close()

    @property
    def done(self) -> int:
        """First byte that the new file has not reached yet."""
        return self.log.entries[-1].end if self.log.entries else 0

    def recover(self) -> None:
        """Untear the range that was under way; afterwards every entry's range holds new bytes, all else old."""
        slot, entries = self.log.slot(), self.log.entries
        if slot is None or not entries or slot.number != entries[-1].number:
            return
        self.file.write(slot.offset, slot.data)
        self.file.sync()
        if slot.direction is Direction.FORWARD:
            self.log.drop_last()

    def apply(self, patch: Path) -> None:
        step, new = self.step, _New(self)
        with patch.open("rb") as stream:
            size = parse_header(stream.read(PREAMBLE_SIZE)).head_size
            stream.seek(0)
            index = open_patch(stream.read(size), index_sha256=bytes.fromhex(step.index_sha256))
            if index.header.target_sha256.hex() != step.target.sha256:
                raise OutputHashMismatch("the patch leads elsewhere")
            start = sum(index.target_offset(block + 1) <= self.done for block in range(len(index.records)))
            applier = Applier(_Old(self, new), new, index=index, start_block=start)
            applier.feed(b"")  # blocks without a payload need no byte of the patch
            stream.seek(applier.wanted)
            while applier.blocks < len(index.records) and (chunk := stream.read(CHUNK)):
                applier.feed(chunk)
            applier.finish()
        new.flush()
        while self.done < step.source.size:  # what the old file has beyond the new one's end
            self.overwrite(self.done, b"", min(step.range_size, step.source.size - self.done))
        self.file.truncate(step.target.size)
        self.file.sync()

    def overwrite(self, offset: int, new: bytes, length: int) -> bytes:
        """Write a range so that it can be finished and undone at any moment; returns its old bytes."""
        old = self.file.read(offset, max(0, min(length, self.step.source.size - offset)))
        if old == new:
            self.log.append(offset, old, new, sync=False)  # nothing can be torn; only progress is noted
            return old
        self.log.fill_slot(Slot(Direction.FORWARD, len(self.log.entries), offset, old))
        self.log.append(offset, old, new, sync=True)
        self.file.write(offset, new)
        self.file.sync()
        return old

    def undo(self) -> None:
        while self.log.entries:
            entry = self.log.entries[-1]
            new = self.file.read(entry.offset, entry.new_size)
            old = self.log.old_bytes(entry, new)
            if old != new:
                self.log.fill_slot(Slot(Direction.BACK, entry.number, entry.offset, new))
                self.file.write(entry.offset, old)
                self.file.sync()
            self.log.drop_last()
        self.file.truncate(self.step.source.size)
        self.file.sync()
        if digest_of(self.file, self.step.source.size)[0].hexdigest() != self.step.source.sha256:
            raise StorageFailed("the old file cannot be brought back")


class _New:
    """The new file as the applier writes it: in order, gathered into ranges."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._batch = bytearray()
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_RANGES)

    def read(self, offset: int, length: int) -> bytes:
        """For a resume: what was written before the interruption."""
        return self._work.file.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Bytes of before an interruption are there already; a block may begin before it and end behind it."""
        known = self._work.done + len(self._batch) - offset
        self._batch += memoryview(data)[max(0, known) :]
        size = self._work.step.range_size
        while len(self._batch) >= size:
            self._write(bytes(self._batch[:size]))

    def flush(self) -> None:
        if self._batch:
            self._write(bytes(self._batch))

    def _write(self, new: bytes) -> None:
        del self._batch[: len(new)]
        offset = self._work.done
        self.kept.append((offset, self._work.overwrite(offset, new, len(new))))


class _Old:
    """The old file as the applier reads it: where it is overwritten already, from memory or from the log."""

    def __init__(self, work: _Work, new: _New) -> None:
        self._work, self._new = work, new

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            piece = self._piece(offset, length)
            if not piece:
                raise EOFError(f"{length} bytes at {offset}")
            parts.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(parts)

    def _piece(self, offset: int, length: int) -> bytes:
        if offset >= self._work.done:
            end = min(offset + length, self._work.step.source.size)
            return self._work.file.read(offset, max(0, end - offset))
        for start, data in self._new.kept:
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + length]
        entry = self._entry_at(offset)
        old = self._work.log.old_bytes(entry, self._work.file.read(entry.offset, entry.new_size))
        self._new.kept.append((entry.offset, old))
        return old[offset - entry.offset : offset - entry.offset + length]

    def _entry_at(self, offset: int) -> Entry:
        entries = self._work.log.entries
        return entries[bisect_right(entries, offset, key=lambda entry: entry.offset) - 1]


def log_path(working: Path) -> Path:
    """The log of a file on its way; its slot has the suffix `.slot` more."""
    return working.with_name(working.name + ".log")
