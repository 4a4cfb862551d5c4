"""SHA-256 of a whole source file, of which a patch is built: along with the building, or ahead of it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Protocol

from workers.delta.layouts.layout import RangeReader

CHUNK = 1 << 20
# Between two chunks a thread waits for the interpreter's lock, for some milliseconds when others calculate.
LONG_CHUNK = 8 << 20


class SourceDigest(Protocol):
    """What a writer tells of the source as it goes, and asks at the end."""

    def add(self, offset: int, data: memoryview) -> None:
        """Bytes that were read at `offset`."""

    def read_to(self, end: int) -> None:
        """Nobody will bring bytes before `end` any more."""

    def finish(self) -> bytes:
        """Digest of the whole file."""

    def close(self) -> None:
        """Give up what is still being done."""


class DigestAlong:
    """From the pieces that are read anyway, and whatever lies between them."""

    def __init__(self, source: RangeReader) -> None:
        """Nothing is read yet."""
        self._source, self._at = source, 0
        self._digest = hashlib.sha256()

    def add(self, offset: int, data: memoryview) -> None:
        """Bytes that were read at `offset`; what was hashed before is left out, gaps are read."""
        if offset + len(data) <= self._at:
            return
        self.read_to(offset)
        self._digest.update(data[self._at - offset :])
        self._at = offset + len(data)

    def read_to(self, end: int) -> None:
        """Bytes up to `end` that nobody brings."""
        while self._at < end:
            data = self._source.read(self._at, min(CHUNK, end - self._at))
            self._digest.update(data)
            self._at += len(data)

    def finish(self) -> bytes:
        """Digest of the whole file."""
        self.read_to(self._source.size)
        return self._digest.digest()

    def close(self) -> None:
        """Nothing is open."""


class DigestAhead:
    """By a thread, from the beginning on: what only one process can do does not keep the other cores waiting.

    Hashing and reading go without the interpreter's lock. The whole file is read once more than by `DigestAlong`.
    """

    def __init__(self, source: RangeReader) -> None:
        """Start."""
        self._given_up = Event()
        self._thread = ThreadPoolExecutor(1, "source-digest")
        self._whole = self._thread.submit(self._read, source)

    def add(self, offset: int, data: memoryview) -> None:
        """The thread reads by itself."""

    def read_to(self, end: int) -> None:
        """The thread reads by itself."""

    def finish(self) -> bytes:
        """Digest of the whole file, when it is there.

        Raises:
            EOFError, OSError: the file could not be read.
        """
        return self._whole.result()

    def close(self) -> None:
        """End the thread, within the time of a chunk."""
        self._given_up.set()
        self._thread.shutdown()

    def _read(self, source: RangeReader) -> bytes:
        digest = hashlib.sha256()
        for at in range(0, source.size, LONG_CHUNK):
            if self._given_up.is_set():
                break
            digest.update(source.read(at, min(LONG_CHUNK, source.size - at)))
        return digest.digest()
