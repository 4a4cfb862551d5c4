"""SHA-256 of the whole source file: computed inline while the patch is built, or ahead in a thread."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Protocol

from workers.delta.layouts.layout import RangeReader

CHUNK_BYTES = 1 << 20
# Before each chunk the thread waits for the GIL, some milliseconds while other threads compute.
THREAD_CHUNK_BYTES = 8 << 20


class SourceDigest(Protocol):
    """The digest of a source file, fed with the parts that were read for other reasons."""

    def add(self, offset: int, data: memoryview) -> None:
        """Add bytes that were read at `offset`."""

    def read_to(self, end: int) -> None:
        """Read the missing bytes before `end`: none of them will be added any more."""

    def finish(self) -> bytes:
        """Return the digest of the whole file.

        Raises:
            EOFError, OSError: the file could not be read.
        """

    def close(self) -> None:
        """Stop the work that is still being done."""


class InlineDigest:
    """Hashes the bytes that are added, and reads only what lies between them."""

    def __init__(self, source: RangeReader) -> None:
        """Start at the beginning of the file; nothing is read yet."""
        self._source, self._position = source, 0
        self._digest = hashlib.sha256()

    def add(self, offset: int, data: memoryview) -> None:
        """Add bytes that were read at `offset`: bytes hashed before are skipped, gaps are read."""
        if offset + len(data) <= self._position:
            return
        self.read_to(offset)
        self._digest.update(data[self._position - offset :])
        self._position = offset + len(data)

    def read_to(self, end: int) -> None:
        """Read and hash the bytes up to `end`."""
        while self._position < end:
            data = self._source.read(self._position, min(CHUNK_BYTES, end - self._position))
            self._digest.update(data)
            self._position += len(data)

    def finish(self) -> bytes:
        """Return the digest of the whole file."""
        self.read_to(self._source.size)
        return self._digest.digest()

    def close(self) -> None:
        """Do nothing: no resource is held."""


class PrefetchDigest:
    """Computed ahead by a thread, so that encoder processes do not wait for the hash.

    Hashing and reading release the interpreter's lock. The whole file is read once more than by `InlineDigest`.
    """

    def __init__(self, source: RangeReader) -> None:
        """Start the thread."""
        self._canceled = Event()
        self._thread = ThreadPoolExecutor(1, "source-digest")
        self._result = self._thread.submit(self._read, source)

    def add(self, offset: int, data: memoryview) -> None:
        """Do nothing: the thread reads the whole file."""

    def read_to(self, end: int) -> None:
        """Do nothing: the thread reads the whole file."""

    def finish(self) -> bytes:
        """Wait for the thread and return the digest of the whole file.

        Raises:
            EOFError, OSError: the file could not be read.
        """
        return self._result.result()

    def close(self) -> None:
        """End the thread, after at most one more chunk."""
        self._canceled.set()
        self._thread.shutdown()

    def _read(self, source: RangeReader) -> bytes:
        digest = hashlib.sha256()
        for at in range(0, source.size, THREAD_CHUNK_BYTES):
            if self._canceled.is_set():
                break
            digest.update(source.read(at, min(THREAD_CHUNK_BYTES, source.size - at)))
        return digest.digest()
