"""Read a local file by range."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self


class LocalFile:
    """A `RangeReader` of a file. Threads can share it, because it has no position."""

    def __init__(self, file: Path | int) -> None:
        """Open a file by path, or take over an inherited file descriptor.

        Raises:
            OSError: the file cannot be opened.
        """
        self._file = os.fdopen(file, "rb") if isinstance(file, int) else file.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size

    def fileno(self) -> int:
        """Return the descriptor, to be inherited by another process."""
        return self._file.fileno()

    @property
    def size(self) -> int:
        """Length in bytes at the time of opening."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends after the file.
        """
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise EOFError(f"{length} bytes at {offset} of {self._size}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
