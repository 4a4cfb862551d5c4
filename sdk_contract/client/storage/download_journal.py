"""Checkpoints of an unfinished download.

After a power cut a file may have its length but not its content. A resume therefore starts at the last checkpoint,
which is written after a sync of the content, and the digest of the whole file is verified at the end.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sdk_contract.client.storage.file_system import FileSystem, write_atomically
from sdk_contract.client.storage.store import read_bounded

MAX_HEAD = 64 << 20
"""Maximum size of a patch's stored head, bytes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Progress of one unfinished download.

    Attributes:
        source: digest of the downloaded object: the full file, or a patch.
        offset: bytes of that object that need no second download.
        blocks_done: patch blocks already applied to the partial file; 0 for a full file.
    """

    source: str
    offset: int = 0
    blocks_done: int = 0


class DownloadJournal:
    """The checkpoint of one partial file, and the head of the patch that produces the file."""

    def __init__(self, file_system: FileSystem, partial: Path) -> None:
        """Use the files `<partial>.journal` and `<partial>.head`."""
        self._file_system = file_system
        self._path = partial.with_name(partial.name + ".journal")
        self._head = partial.with_name(partial.name + ".head")

    def read(self, source: str) -> Checkpoint:
        """Return the last checkpoint of this download, or one at 0 if there is no intact checkpoint."""
        try:
            text, _, digest = read_bounded(self._path, 4096).rpartition(b"\n")
            checkpoint = Checkpoint(**json.loads(text)) if _digest(text) == digest else Checkpoint(source)
        except (OSError, ValueError, TypeError):
            return Checkpoint(source)
        return checkpoint if checkpoint.source == source else Checkpoint(source)

    def write(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint. The caller has to sync the content first."""
        text = json.dumps(asdict(checkpoint)).encode()
        write_atomically(self._file_system, self._path, text + b"\n" + _digest(text))

    def read_head(self) -> bytes:
        """Return the stored patch head, or nothing. The caller has to verify its signed digest."""
        try:
            return read_bounded(self._head, MAX_HEAD)
        except OSError:
            return b""

    def save_head(self, head: bytes) -> None:
        """Store the header and index of the patch, so that a resume need not download them again."""
        if self.read_head() != head:
            write_atomically(self._file_system, self._head, head)

    def clear(self) -> None:
        """Delete the checkpoint and the head; the partial file is then useless."""
        self._file_system.unlink(self._path)
        self._file_system.unlink(self._head)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
