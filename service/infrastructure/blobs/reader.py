"""Byte ranges of one stored object, for the delta engine."""

from dataclasses import dataclass

from service.infrastructure.blobs.store import BlobStore


@dataclass(frozen=True, slots=True)
class BlobReader:
    """Reads ranges of one object.

    Attributes:
        store: the object store.
        key: key of the object.
        size: its length in bytes.
    """

    store: BlobStore
    key: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends after the end of the object.
        """
        if offset < 0 or length > self.size - offset:
            raise EOFError(f"{length} bytes at {offset} end after {self.size}")
        data = self.store.read(self.key, offset, length)
        if len(data) != length:
            raise EOFError(f"the store returned {len(data)} of {length} bytes at {offset}")
        return data
