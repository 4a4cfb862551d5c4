"""Objects by the digest of their content, in an S3-compatible store.

Uploads land under `uploads/`, which no device ever reads; a worker copies them to `blobs/<sha256>`
once it has re-hashed them. So a presigned upload URL can never touch what is served.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.config import Settings
from service.errors import NotFound, Unavailable

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    # botocore adds checksums of its own by default, on which presigned URLs and S3-alikes choke.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=5,
    read_timeout=60,
    retries={"max_attempts": 3, "mode": "standard"},
)
CHUNK = 1 << 20
CARRYING = TransferConfig(multipart_chunksize=16 * CHUNK, max_concurrency=2)
"""Parts of 16 MiB let an object grow to 160 GB, and two at a time keep a worker small."""


def blob_key(sha256: str) -> str:
    """Where a blob lies."""
    return f"blobs/{sha256}"


def manifest_key(sha256: str) -> str:
    """Where a manifest's envelope lies."""
    return f"manifests/{sha256}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart upload that has arrived."""

    number: int
    size: int
    etag: str


class StoreError(Unavailable):
    """The object store does not answer as it should."""

    code, title = "store_unavailable", "Object store unavailable"


@contextmanager
def _answering() -> Iterator[None]:
    """Failures of the store by our name; whoever called may try again."""
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise StoreError(f"the object store failed: {type(error).__name__}", retry_after_s=5) from error


class BlobStore(Protocol):
    """What the product asks of an object store."""

    def size(self, key: str) -> int | None:
        """Length of an object in bytes; None if there is none."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The object in chunks of at most 1 MiB.

        Raises:
            NotFound: there is no such object.
        """

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object.

        Raises:
            NotFound: there is no such object.
        """

    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """Store an object, whole or not at all."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file of any size."""

    def put_chunks(self, key: str, chunks: Iterator[bytes]) -> None:
        """Store what arrives piece by piece, of any size; nothing is there before the last piece is."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object of any size inside the store."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""

    def start_upload(self, key: str) -> str:
        """Begin a multipart upload; return the store's id of it."""

    def upload_url(self, key: str, upload_id: str, part: int, *, expires_s: int) -> str:
        """Where to PUT a part, as the outside world reaches it."""

    def parts(self, key: str, upload_id: str) -> list[Part]:
        """The parts that have arrived, by number; none for an upload that is unknown or over."""

    def finish_upload(self, key: str, upload_id: str, parts: Iterable[Part]) -> None:
        """Join the parts to one object."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts."""

    def download_url(self, key: str, *, expires_s: int) -> str:
        """Where to GET an object, as the outside world reaches it."""


class _Chunks(io.RawIOBase):
    """Chunks as a file that can be read once, from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Read nothing yet."""
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As much as there is at hand; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class S3BlobStore:
    """S3 or anything that speaks it."""

    def __init__(self, settings: Settings) -> None:
        """Two clients: one for us, and one that signs URLs for the host that the outside world sees."""
        self._bucket = settings.s3_bucket
        self._client = _client(settings, settings.s3_endpoint)
        self._public = _client(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    def ensure_bucket(self) -> None:
        """Make the bucket if it is not there; for stores of our own, not for production.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        with _answering():
            names = {bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]}
            if self._bucket not in names:
                self._client.create_bucket(Bucket=self._bucket)

    @_answering()
    def size(self, key: str) -> int | None:
        """See `BlobStore`."""
        try:
            return int(self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def stream(self, key: str) -> Iterator[bytes]:
        """See `BlobStore`."""
        body = self._get(key)
        try:
            with _answering():
                yield from body.iter_chunks(CHUNK)
        finally:
            body.close()

    @_answering()
    def read(self, key: str, offset: int, length: int) -> bytes:
        """See `BlobStore`."""
        if length == 0:
            return b""
        body = self._get(key, Range=f"bytes={offset}-{offset + length - 1}")
        with body:
            return bytes(body.read())

    @_answering()
    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """See `BlobStore`."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)

    @_answering()
    def put_file(self, key: str, path: Path) -> None:
        """See `BlobStore`."""
        self._client.upload_file(str(path), self._bucket, key)

    @_answering()
    def put_chunks(self, key: str, chunks: Iterator[bytes]) -> None:
        """See `BlobStore`."""
        with io.BufferedReader(_Chunks(chunks), CHUNK) as file:
            self._client.upload_fileobj(file, self._bucket, key, Config=CARRYING)

    @_answering()
    def copy(self, source: str, target: str) -> None:
        """See `BlobStore`."""
        self._client.copy({"Bucket": self._bucket, "Key": source}, self._bucket, target)

    @_answering()
    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    @_answering()
    def start_upload(self, key: str) -> str:
        """See `BlobStore`."""
        return str(self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"])

    @_answering()
    def upload_url(self, key: str, upload_id: str, part: int, *, expires_s: int) -> str:
        """See `BlobStore`."""
        params = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id, "PartNumber": part}
        return str(self._public.generate_presigned_url("upload_part", Params=params, ExpiresIn=expires_s))

    @_answering()
    def parts(self, key: str, upload_id: str) -> list[Part]:
        """See `BlobStore`."""
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=upload_id
        )
        try:
            found = [part for page in pages for part in page.get("Parts", [])]
        except ClientError as error:
            if _is_missing(error):
                return []
            raise
        return [Part(part["PartNumber"], part["Size"], part["ETag"]) for part in found]

    @_answering()
    def finish_upload(self, key: str, upload_id: str, parts: Iterable[Part]) -> None:
        """See `BlobStore`."""
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
        )

    @_answering()
    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `BlobStore`."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if not _is_missing(error):
                raise

    @_answering()
    def download_url(self, key: str, *, expires_s: int) -> str:
        """See `BlobStore`."""
        params = {"Bucket": self._bucket, "Key": key}
        return str(self._public.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s))

    @_answering()
    def _get(self, key: str, **more: Any) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **more)["Body"]
        except ClientError as error:
            if _is_missing(error):
                raise NotFound(f"no object {key} in the store") from error
            raise


@dataclass(frozen=True, slots=True)
class BlobReader:
    """Ranges of one object, as the delta engine reads them.

    Attributes:
        store: where it lies.
        key: its name there.
        size: its length in bytes.
    """

    store: BlobStore
    key: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends behind the object.
        """
        if offset < 0 or length > self.size - offset:
            raise EOFError(f"{length} bytes at {offset} end behind {self.size}")
        data = self.store.read(self.key, offset, length)
        if len(data) != length:
            raise EOFError(f"the store gave {len(data)} of {length} bytes at {offset}")
        return data


def _client(settings: Settings, endpoint: str | None) -> Any:
    access, secret = settings.s3_access_key, settings.s3_secret_key
    return _client_of(
        os.getpid(),
        endpoint,
        settings.s3_region,
        access.get_secret_value() if access else None,
        secret.get_secret_value() if secret else None,
    )


@lru_cache(maxsize=16)
def _client_of(
    _process: int, endpoint: str | None, region: str, access: str | None, secret: str | None
) -> Any:
    """One client per account and process: making one takes longer than a request, and threads may share it."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=CLIENT_CONFIG,
    )


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NoSuchUpload", "NotFound")
