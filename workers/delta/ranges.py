"""Reading a local file by range."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self


class LocalFile:
    """A `RangeReader` over a file; safe to share between threads, because it has no position."""

    def __init__(self, file: Path | int) -> None:
        """Open a file, or take one over by the descriptor that this process was started with.

        Raises:
            OSError: it cannot be opened.
        """
        self._file = os.fdopen(file, "rb") if isinstance(file, int) else file.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size

    def fileno(self) -> int:
        """The descriptor, for a process that reads the same file."""
        return self._file.fileno()

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends behind the file.
        """
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise EOFError(f"{length} bytes at {offset} of {self._size}")
        return data

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file back."""
        self.close()
