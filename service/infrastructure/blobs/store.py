"""The object store that the product needs, as a protocol, and the keys of its objects."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from service.errors import Unavailable


def blob_key(sha256: str) -> str:
    """The key of a blob."""
    return f"blobs/{sha256}"


def manifest_key(sha256: str) -> str:
    """The key of a manifest's envelope."""
    return f"manifests/{sha256}"


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part of a multipart upload that the store has received."""

    number: int
    size: int
    etag: str


class BlobStoreError(Unavailable):
    """The object store does not answer, or failed."""

    code, title = "store_unavailable", "Object store unavailable"


class BlobStore(Protocol):
    """An object store."""

    def size(self, key: str) -> int | None:
        """Length of an object in bytes; None if it does not exist."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The object in chunks of at most 1 MiB.

        Raises:
            NotFound: the object does not exist.
        """

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object.

        Raises:
            NotFound: the object does not exist.
        """

    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """Store an object atomically."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file of any size."""

    def put_chunks(self, key: str, chunks: Iterator[bytes]) -> None:
        """Store a stream of any size; the object appears once the last chunk has arrived."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object of any size inside the store."""

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""

    def start_upload(self, key: str) -> str:
        """Start a multipart upload; return its id in the store."""

    def upload_url(self, key: str, upload_id: str, part: int, *, expires_s: int) -> str:
        """A presigned public URL to PUT a part to."""

    def parts(self, key: str, upload_id: str) -> list[UploadedPart]:
        """The parts that the store has received, by number; empty for an unknown or finished upload."""

    def finish_upload(self, key: str, upload_id: str, parts: Iterable[UploadedPart]) -> None:
        """Join the parts into one object."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Discard an upload and its parts."""

    def download_url(self, key: str, *, expires_s: int) -> str:
        """A presigned public URL to GET an object from."""
