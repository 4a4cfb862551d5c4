"""How far a partial file can be trusted: only what was synced before the note about it was.

After a power cut a file may have its length but not its content. So a resume starts at the last note, which
is written after the content that it speaks of, and the digest over everything is checked again in the end.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sdk_contract.client.files import Files, replace
from sdk_contract.client.store import read_bounded

MAX_HEAD = 64 << 20
"""Bound of the kept head of a patch, bytes."""


@dataclass(frozen=True, slots=True)
class Note:
    """Progress of one partial file.

    Attributes:
        source: digest of what is being downloaded: the file itself, or a patch.
        offset: bytes of the *download* that need not come again.
        block: blocks of a patch that are in the partial file; 0 for a whole file.
    """

    source: str
    offset: int = 0
    block: int = 0


class Journal:
    """The notes beside one partial file: how far it is, and the head of the patch that makes it."""

    def __init__(self, files: Files, partial: Path) -> None:
        """Name the places: `<partial>.journal` and `<partial>.head`."""
        self._files = files
        self._path = partial.with_name(partial.name + ".journal")
        self._head = partial.with_name(partial.name + ".head")

    def read(self, source: str) -> Note:
        """The last note about this download; a fresh one where there is none that can be trusted."""
        try:
            text, _, digest = read_bounded(self._path, 4096).rpartition(b"\n")
            note = Note(**json.loads(text)) if _digest(text) == digest else Note(source)
        except (OSError, ValueError, TypeError):
            return Note(source)
        return note if note.source == source else Note(source)

    def write(self, note: Note) -> None:
        """Note progress; the content must be synced already."""
        text = json.dumps(asdict(note)).encode()
        replace(self._files, self._path, text + b"\n" + _digest(text))

    def head(self) -> bytes:
        """The patch's head as it was kept; its digest is signed, so the reader checks it."""
        try:
            return read_bounded(self._head, MAX_HEAD)
        except OSError:
            return b""

    def keep_head(self, head: bytes) -> None:
        """Keep header and index of the patch under way, so that a resume need not fetch them."""
        if self.head() != head:
            replace(self._files, self._head, head)

    def clear(self) -> None:
        """Forget; without a note a partial file is worth nothing."""
        self._files.unlink(self._path)
        self._files.unlink(self._head)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
