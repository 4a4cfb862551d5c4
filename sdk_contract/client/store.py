"""The directory of one device: objects by digest, the record, and who may touch them.

```
state.json, state.copy   the record, and the one before it; reserve: room for it on a full disk
update.lock              held while an update runs; state.lock: for milliseconds
objects/<sha256>         verified files, never modified
partial/<sha256>         on the way; named by the digest they shall have
releases/<digest>.<variant>/<path>   the names that a runtime sees, as links into objects/
manifests/<sha256>       envelopes of the versions held
in_place/<sha256>        a file on its way from one version to the next, its undo log and its slot
```
"""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sdk_contract.client.errors import Busy, StateDamaged
from sdk_contract.client.files import DiskFiles, Files, replace
from sdk_contract.client.record import MAX_RECORD, Record, Release

CHUNK = 1 << 20
LOCK_PAUSE_S = 0.02
RESERVE = 64 * 1024
"""Bytes of room kept for the record; two copies of it fit many times."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Installed:
    """The version that a runtime may load: immutable files, all of one manifest.

    Attributes:
        components: name -> file, under the file name that the manifest gives it.
    """

    model: str
    version: str
    counter: int
    variant: str
    manifest_sha256: str
    components: dict[str, Path]


class Store:
    """One device's directory; cheap to open, safe between threads and processes."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        """Name the places; nothing is touched yet."""
        self.directory = directory
        self.files: Files = files or DiskFiles()
        self.objects = directory / "objects"
        self.partial = directory / "partial"
        self.releases = directory / "releases"
        self.manifests = directory / "manifests"
        self.in_place = directory / "in_place"
        self._reserve = directory / "reserve"

    def create(self) -> None:
        """Make the directories; fine if they exist."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.objects, self.partial, self.releases, self.manifests, self.in_place):
            self.files.make_directory(path)
        self.fill_reserve()
        self.files.sync_directory(self.directory)
        self.files.sync_directory(self.directory.parent)

    def read(self) -> Record:
        """The record as it is on disk now; a new one where there is none.

        Raises:
            StateDamaged: neither the record nor its copy is readable.
        """
        paths = [self.directory / "state.json", self.directory / "state.copy"]
        present = [path for path in paths if path.exists()]
        if not present:
            return Record()
        for path in present:
            with suppress(StateDamaged):
                return Record.from_bytes(read_bounded(path, MAX_RECORD))
        raise StateDamaged(f"neither of {[path.name for path in present]} is intact")

    def forget_damage(self) -> None:
        """Begin with a new record where the old one cannot be read: only enrolling again may do that.

        Floor and bad list go with it; the objects stay, and are read before anything uses them.
        """
        try:
            self.read()
        except StateDamaged:
            for name in ("state.json", "state.copy"):
                self.files.unlink(self.directory / name)
            self.files.sync_directory(self.directory)

    def change(self, step: Callable[[Record], None]) -> Record:
        """Change the record; it is on disk when this returns.

        `step` changes the record it is given, and may raise to change nothing.

        Raises:
            StateDamaged: the record cannot be read.
            OSError: it cannot be written; the old one holds.
        """
        with self._lock("state.lock", blocking=True):
            record = self.read()
            before = record.to_bytes()
            step(record)
            after = record.to_bytes()
            if after != before:
                self._save_in_any_room(before, after)
            return record

    def _save_in_any_room(self, before: bytes, after: bytes) -> None:
        """A full disk must not keep us from noting that we go back: then the reserve gives its room."""
        try:
            self._save(before, after)
        except OSError as error:
            if error.errno not in FULL_DISK or not self._reserve.exists():
                raise
            self.files.unlink(self._reserve)
            self._save(before, after)

    def fill_reserve(self) -> None:
        """Set room aside for the record; on a disk that is full already there is none to set aside."""
        if self._reserve.exists():
            return
        with suppress(OSError):
            # Random bytes: a file system that compresses would keep no room for zeros.
            replace(self.files, self._reserve, os.urandom(RESERVE))

    def _save(self, before: bytes, after: bytes) -> None:
        # The copy is for rot, not for power cuts (those are `replace`'s work), so it needs no sync.
        copy = self.files.open(self.directory / "state.copy.new")
        try:
            copy.truncate(0)
            copy.write(0, before)
        finally:
            copy.close()
        self.files.rename(self.directory / "state.copy.new", self.directory / "state.copy")
        replace(self.files, self.directory / "state.json", after)

    @contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one who updates in this directory.

        Args:
            wait_s: how long to wait for another one to end.

        Raises:
            Busy: another thread or process still is.
        """
        deadline = time.monotonic() + wait_s
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(self._lock("update.lock", blocking=False))
                    break
                except Busy:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(LOCK_PAUSE_S)
            yield

    @contextmanager
    def _lock(self, name: str, *, blocking: bool) -> Iterator[None]:
        fd = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(f"{self.directory / name} is held") from error
            yield
        finally:
            os.close(fd)

    def has(self, sha256: str, size: int) -> bool:
        """Is the object here? Only verified bytes get this name, so its size is a cheap check against cuts."""
        try:
            return (self.objects / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def intact(self, sha256: str, size: int) -> bool:
        """Read the object and compare its digest.

        A rotten one stays until good bytes take its name: while the device is offline it may be all there is.
        """
        return self.has(sha256, size) and file_digest(self.objects / sha256) == sha256

    def partial_size(self, sha256: str) -> int:
        """Bytes on the disk already of an object on its way."""
        try:
            return (self.partial / sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def missing(self, release: Release) -> list[str]:
        """Names of components whose objects are not here."""
        return [part.name for part in release.components if not self.has(part.sha256, part.size)]

    def installed(self, release: Release) -> Installed:
        """The files of a release under the names that a runtime sees; links are made where missing."""
        folder = self.releases / release.folder
        missing = [part for part in release.components if not (folder / part.path).is_symlink()]
        if missing:
            self.files.make_directory(folder)
            for part in missing:
                with suppress(FileExistsError):
                    self.files.symlink(f"../../objects/{part.sha256}", folder / part.path)
            self.files.sync_directory(folder)
            self.files.sync_directory(self.releases)
        return Installed(
            release.model,
            release.version,
            release.counter,
            release.variant,
            release.manifest_sha256,
            {part.name: folder / part.path for part in release.components},
        )

    def collect(self, record: Record, *, keep_previous: bool = True) -> int:
        """Remove what nothing refers to; returns the bytes that became free."""
        kept = [record.current, record.attempt.release if record.attempt else None]
        releases = [entry for entry in [*kept, record.previous if keep_previous else None] if entry]
        objects = {part.sha256 for release in releases for part in release.components}
        wanted = {part.sha256 for part in record.attempt.release.components} if record.attempt else set()
        steps = record.attempt.in_place if record.attempt else []
        wanted |= {step.patch_sha256 for step in steps} | {step.target.sha256 for step in steps}
        manifests = {release.manifest_sha256 for release in releases}
        freed = self._sweep(self.objects, lambda name: name in objects)
        freed += self._sweep(self.partial, lambda name: name.partition(".")[0] in wanted)
        freed += self._sweep(self.in_place, lambda name: name.partition(".")[0] in wanted)
        self._sweep(self.manifests, lambda name: name in manifests)
        links = {(release.folder, part.path) for release in releases for part in release.components}
        self._collect_links(links)
        return freed

    def _collect_links(self, links: set[tuple[str, str]]) -> None:
        folders = {folder for folder, _ in links}
        for folder in list(self.releases.iterdir()):
            for link in list(folder.iterdir()):
                if (folder.name, link.name) not in links:
                    self.files.unlink(link)
            if folder.name not in folders:
                self.files.remove_directory(folder)

    def _sweep(self, folder: Path, keep: Callable[[str], bool]) -> int:
        freed = 0
        for path in list(folder.iterdir()):
            if not keep(path.name):
                freed += path.lstat().st_size
                self.files.unlink(path)
        return freed


def read_bounded(path: Path, limit: int) -> bytes:
    """The file's bytes, at most `limit` + 1 of them: longer than allowed is still seen, never loaded."""
    with path.open("rb") as stream:
        return stream.read(limit + 1)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex, read in pieces of 1 MiB."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
