"""A file system that loses power, or fails, at a chosen operation. It works on real files and can undo changes.

After a power cut unsynced changes may be lost: content needs `sync`, and names need `sync_directory` of their directory.
Every change therefore stores its undo function until the sync that makes it durable.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sdk_contract.client.storage.file_system import LocalFileSystem


class PowerCut(BaseException):
    """A simulated power cut. It is no `Exception`, so that no handler of the client catches it."""


@dataclass
class _Change:
    """One unsynced change.

    Attributes:
        owner: the inode (for content) or directory (for a name) whose sync makes the change durable.
        undo: reverts the change.
    """

    owner: object
    undo: Callable[[], None]


class _OpenFile:
    def __init__(self, disk, path, inner):
        self.disk, self.path, self.inner = disk, path, inner
        self.inode = path.stat().st_ino

    def read(self, offset, length):
        self.disk.alive()
        if (
            self.disk.error is not None
        ):  # a read counts only if operations fail, because a power cut cannot affect it
            self.disk.step("read", self.path)
        return self.inner.read(offset, length)

    def write(self, offset, data):
        if self.disk.point("write", self.path):
            # A short write: half of the data is written before the fault.
            self._write(offset, bytes(data)[: len(data) // 2])
            self.disk.fault()
        self._write(offset, data)

    def _write(self, offset, data):
        self.disk.need_room(offset + len(data) - os.fstat(self.inner._fd).st_size)
        before = self.inner.read(offset, len(data))
        size = os.fstat(self.inner._fd).st_size
        self.inner.write(offset, data)
        fd = os.dup(self.inner._fd)
        self.disk.fds.append(fd)

        def undo():
            os.pwrite(fd, bytes(len(before)) if self.disk.zeros else before, offset)
            os.ftruncate(fd, max(size, offset + len(data)) if self.disk.zeros else size)

        self.disk.changes.append(_Change(self.inode, undo))

    def truncate(self, size):
        if self.disk.point("truncate", self.path):
            self.disk.fault()
        before = os.fstat(self.inner._fd).st_size
        tail = self.inner.read(size, max(0, before - size))
        self.inner.truncate(size)
        fd = os.dup(self.inner._fd)
        self.disk.fds.append(fd)

        def undo():
            os.ftruncate(fd, before)
            os.pwrite(fd, tail, size)

        self.disk.changes.append(_Change(self.inode, undo))

    def sync(self):
        if self.disk.point("sync", self.path):
            self.disk.fault()
        self.inner.sync()
        self.disk.make_durable(self.inode)

    def close(self):
        self.inner.close()


@dataclass
class FaultyDisk:
    """A `FileSystem` that counts operations, and loses power or fails at operation number `at`.

    Attributes:
        trash: directory on the same file system, for files that undo functions need.
        at: number of the faulty operation, from 1; 0 for none.
        error: errno of the failure; without it the power is lost.
        times: number of consecutive failing operations.
        zeros: unsynced content becomes zeros of the new length, as on some file systems.
        free: reported free space, bytes; without it the real one.
        home, capacity: total size limit for the files under `home`, bytes; without `home` no limit.
    """

    trash: Path
    at: int = 0
    error: int | None = None
    times: int = 1
    zeros: bool = False
    free: int | None = None
    home: Path | None = None
    capacity: int = 0
    count: int = 0
    dead: bool = False
    changes: list[_Change] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.inner = LocalFileSystem()
        self.trash.mkdir(parents=True, exist_ok=True)

    # -- faults -----------------------------------------------------------------------------

    def alive(self):
        if self.dead:
            raise PowerCut

    def point(self, name, path):
        """Count an operation, and return whether the fault is due."""
        self.alive()
        self.count += 1
        self.names.append(f"{name} {path.name}")
        return self.at and self.at <= self.count < self.at + self.times

    def fault(self):
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.dead = True
        raise PowerCut

    def step(self, name, path):
        if self.point(name, path):
            self.fault()

    def power_off(self, *, lose=True):
        """Revert unsynced changes (`lose`), or keep them, as if only the process had ended."""
        self.dead = True
        if lose:
            for change in reversed(self.changes):
                change.undo()
        for fd in self.fds:
            os.close(fd)
        self.changes.clear()
        self.fds.clear()
        shutil.rmtree(self.trash)

    def need_room(self, growth):
        if self.home is None or growth <= 0:
            return
        used = sum(path.lstat().st_size for path in self.home.rglob("*") if path.is_file())
        if used + growth > self.capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def make_durable(self, owner):
        self.changes = [change for change in self.changes if change.owner != owner]

    def keep(self, path):
        """Create a second name for a file, so that it can be restored."""
        if not os.path.lexists(path):
            return None
        spare = self.trash / str(len(list(self.trash.iterdir())))
        os.link(path, spare, follow_symlinks=False)
        return spare

    def restore(self, path, spare):
        if os.path.lexists(path):
            path.unlink()
        if spare is not None:
            path.parent.mkdir(exist_ok=True)
            os.link(spare, path, follow_symlinks=False)

    def note(self, folder, undo):
        self.changes.append(_Change(str(folder), undo))

    # -- operations -------------------------------------------------------------------------

    def open(self, path):
        self.alive()
        if not path.exists():
            self.step("create", path)
            self.note(path.parent, lambda: self.restore(path, None))
        return _OpenFile(self, path, self.inner.open(path))

    def rename(self, source, target):
        self.step("rename", target)
        old_target, old_source = self.keep(target), self.keep(source)
        self.inner.rename(source, target)
        self.note(target.parent, lambda: self.restore(target, old_target))
        self.note(source.parent, lambda: self.restore(source, old_source))

    def unlink(self, path):
        if not os.path.lexists(path):
            return
        self.step("unlink", path)
        spare = self.keep(path)
        self.inner.unlink(path)
        self.note(path.parent, lambda: self.restore(path, spare))

    def make_directory(self, path):
        if path.exists():
            return
        self.step("mkdir", path)
        self.inner.make_directory(path)
        self.note(path.parent, lambda: shutil.rmtree(path, ignore_errors=True))

    def remove_directory(self, path):
        if not path.exists():
            return
        self.step("rmdir", path)
        self.inner.remove_directory(path)
        self.note(path.parent, lambda: path.mkdir(exist_ok=True))

    def symlink(self, target, path):
        self.step("symlink", path)
        self.inner.symlink(target, path)
        self.note(path.parent, lambda: self.restore(path, None))

    def sync_directory(self, path):
        self.step("sync_directory", path)
        self.inner.sync_directory(path)
        self.make_durable(str(path))

    def free_bytes(self, path):
        return self.inner.free_bytes(path) if self.free is None else self.free


NO_SPACE = errno.ENOSPC
IO_ERROR = errno.EIO
