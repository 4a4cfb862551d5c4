"""The directory of one device: the state file, objects by digest, and the locks.

```
state.json, state.copy   the client state, and its previous content as a backup
reserve                  space set aside so that the state can be written on a full disk
update.lock              locked while an update runs
state.lock               locked for milliseconds while the state changes
objects/<sha256>         verified files, never modified
partial/<sha256>         unfinished downloads, named by their expected digest
releases/<digest>.<variant>/<path>   links into objects/, under the names that a runtime sees
manifests/<sha256>       manifest envelopes of the stored versions
in_place/<sha256>        a file during an in-place update, with its undo log and range backup
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
from sdk_contract.client.storage.client_state import MAX_STATE_BYTES, ClientState, Release
from sdk_contract.client.storage.file_system import FileSystem, LocalFileSystem, write_atomically

CHUNK = 1 << 20
LOCK_POLL_S = 0.02
RESERVE_BYTES = 64 * 1024
"""Disk space set aside for the state: enough for several copies."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class InstalledVersion:
    """A complete version that a runtime may load. Its files are immutable and belong to one manifest.

    Attributes:
        components: component name -> file, under the file name from the manifest.
    """

    model: str
    version: str
    counter: int
    variant: str
    manifest_sha256: str
    components: dict[str, Path]


class Store:
    """One device's directory. It is cheap to open and safe to share between threads and processes."""

    def __init__(self, directory: Path, file_system: FileSystem | None = None) -> None:
        """Compute the paths, without any access to the disk."""
        self.directory = directory
        self.file_system: FileSystem = file_system or LocalFileSystem()
        self.objects = directory / "objects"
        self.partial = directory / "partial"
        self.releases = directory / "releases"
        self.manifests = directory / "manifests"
        self.in_place = directory / "in_place"
        self._reserve = directory / "reserve"

    def create(self) -> None:
        """Create the directories that do not exist yet."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.objects, self.partial, self.releases, self.manifests, self.in_place):
            self.file_system.make_directory(path)
        self.fill_reserve()
        self.file_system.sync_directory(self.directory)
        self.file_system.sync_directory(self.directory.parent)

    def read_state(self) -> ClientState:
        """Return the state from disk, or a new one when no state file exists.

        Raises:
            StateDamaged: the state file and its backup are both unreadable.
        """
        paths = [self.directory / "state.json", self.directory / "state.copy"]
        present = [path for path in paths if path.exists()]
        if not present:
            return ClientState()
        for path in present:
            with suppress(StateDamaged):
                return ClientState.from_bytes(read_bounded(path, MAX_STATE_BYTES))
        names = ", ".join(path.name for path in present)
        raise StateDamaged(f"{self.directory}: {names} cannot be read; enroll the device again")

    def reset_damaged_state(self) -> None:
        """Delete a state that cannot be read. Only a new enrollment may do this.

        The rollback floor and the blocklist are lost. The objects stay, and are verified before use.
        """
        try:
            self.read_state()
        except StateDamaged:
            for name in ("state.json", "state.copy"):
                self.file_system.unlink(self.directory / name)
            self.file_system.sync_directory(self.directory)

    def change_state(self, edit: Callable[[ClientState], None]) -> ClientState:
        """Change the state in one transaction, and return it once it is on disk.

        Args:
            edit: modifies the state that it is given; if it raises, nothing changes.

        Raises:
            StateDamaged: the state cannot be read.
            OSError: the state cannot be written; the old one stays valid.
        """
        with self._lock("state.lock", blocking=True):
            state = self.read_state()
            before = state.to_bytes()
            edit(state)
            after = state.to_bytes()
            if after != before:
                self._save_using_reserve(before, after)
            return state

    def _save_using_reserve(self, before: bytes, after: bytes) -> None:
        """Save the state; on a full disk, free the reserve first, so that a rollback can always be recorded."""
        try:
            self._save(before, after)
        except OSError as error:
            if error.errno not in FULL_DISK or not self._reserve.exists():
                raise
            self.file_system.unlink(self._reserve)
            self._save(before, after)

    def fill_reserve(self) -> None:
        """Set disk space aside for the state, unless the disk is already full."""
        if self._reserve.exists():
            return
        with suppress(OSError):
            # Random bytes, because a compressing file system would reserve no space for zeros.
            write_atomically(self.file_system, self._reserve, os.urandom(RESERVE_BYTES))

    def _save(self, before: bytes, after: bytes) -> None:
        # The copy guards against corruption, and `write_atomically` against power cuts, so the copy needs no sync.
        copy = self.file_system.open(self.directory / "state.copy.new")
        try:
            copy.truncate(0)
            copy.write(0, before)
        finally:
            copy.close()
        self.file_system.rename(self.directory / "state.copy.new", self.directory / "state.copy")
        write_atomically(self.file_system, self.directory / "state.json", after)

    @contextmanager
    def update_lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the exclusive lock for updates of this directory.

        Args:
            wait_s: how long to wait for the current owner of the lock, seconds.

        Raises:
            Busy: another thread or process still has the lock.
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
                    time.sleep(LOCK_POLL_S)
            yield

    @contextmanager
    def _lock(self, name: str, *, blocking: bool) -> Iterator[None]:
        fd = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(f"another process uses {self.directory / name}; try again later") from error
            yield
        finally:
            os.close(fd)

    def has_object(self, sha256: str, size: int) -> bool:
        """Whether the object exists with this size. Only verified files get an object's name."""
        try:
            return (self.objects / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def verify_object(self, sha256: str, size: int) -> bool:
        """Whether the object exists and its content has the digest.

        A corrupt object is not deleted: until it is replaced it may be the only copy on an offline device.
        """
        return self.has_object(sha256, size) and file_digest(self.objects / sha256) == sha256

    def partial_size(self, sha256: str) -> int:
        """Size of an unfinished download, bytes; 0 when there is none."""
        try:
            return (self.partial / sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def missing_components(self, release: Release) -> list[str]:
        """Names of the release's components whose objects are missing."""
        return [part.name for part in release.components if not self.has_object(part.sha256, part.size)]

    def link_release(self, release: Release) -> InstalledVersion:
        """Create the release's missing links to its objects, and return its files."""
        folder = self.releases / release.folder
        missing = [part for part in release.components if not (folder / part.path).is_symlink()]
        if missing:
            self.file_system.make_directory(folder)
            for part in missing:
                with suppress(FileExistsError):
                    self.file_system.symlink(f"../../objects/{part.sha256}", folder / part.path)
            self.file_system.sync_directory(folder)
            self.file_system.sync_directory(self.releases)
        return InstalledVersion(
            release.model,
            release.version,
            release.counter,
            release.variant,
            release.manifest_sha256,
            {part.name: folder / part.path for part in release.components},
        )

    def collect_garbage(self, state: ClientState, *, keep_previous: bool = True) -> int:
        """Delete files that the state does not refer to, and return the number of freed bytes."""
        kept = [state.current, state.attempt.release if state.attempt else None]
        releases = [entry for entry in [*kept, state.previous if keep_previous else None] if entry]
        objects = {part.sha256 for release in releases for part in release.components}
        wanted = {part.sha256 for part in state.attempt.release.components} if state.attempt else set()
        steps = state.attempt.in_place_steps if state.attempt else []
        wanted |= {step.patch_sha256 for step in steps} | {step.target.sha256 for step in steps}
        manifests = {release.manifest_sha256 for release in releases}
        freed = self._remove_unless(self.objects, lambda name: name in objects)
        freed += self._remove_unless(self.partial, lambda name: name.partition(".")[0] in wanted)
        freed += self._remove_unless(self.in_place, lambda name: name.partition(".")[0] in wanted)
        self._remove_unless(self.manifests, lambda name: name in manifests)
        links = {(release.folder, part.path) for release in releases for part in release.components}
        self._remove_stale_links(links)
        return freed

    def _remove_stale_links(self, links: set[tuple[str, str]]) -> None:
        folders = {folder for folder, _ in links}
        for folder in list(self.releases.iterdir()):
            for link in list(folder.iterdir()):
                if (folder.name, link.name) not in links:
                    self.file_system.unlink(link)
            if folder.name not in folders:
                self.file_system.remove_directory(folder)

    def _remove_unless(self, folder: Path, keep: Callable[[str], bool]) -> int:
        freed = 0
        for path in list(folder.iterdir()):
            if not keep(path.name):
                freed += path.lstat().st_size
                self.file_system.unlink(path)
        return freed


def read_bounded(path: Path, limit: int) -> bytes:
    """Up to `limit` + 1 bytes of a file, so that the caller can detect a file above the limit."""
    with path.open("rb") as stream:
        return stream.read(limit + 1)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
