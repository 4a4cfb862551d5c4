"""The blob store in S3, or in any store with the S3 API.

Uploads go to `uploads/`, which devices never read. A worker hashes them again and copies them to `blobs/<sha256>`. So a
presigned upload URL can never change what is served.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.config import Settings
from service.errors import NotFound
from service.infrastructure.blobs.store import BlobStoreError, UploadedPart

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    # By default botocore adds checksums, which presigned URLs and S3-compatible stores reject.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=5,
    read_timeout=60,
    retries={"max_attempts": 3, "mode": "standard"},
)
CHUNK_BYTES = 1 << 20
MULTIPART_CONFIG = TransferConfig(multipart_chunksize=16 * CHUNK_BYTES, max_concurrency=2)
"""Parts of 16 MiB allow objects of 160 GB; two at a time keep a worker's memory small."""


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise exceptions of the S3 client as `BlobStoreError`."""
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise BlobStoreError(f"the object store failed: {type(error).__name__}", retry_after_s=5) from error


class _ChunkReader(io.RawIOBase):
    """A readable file over an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Read from `chunks` on demand."""
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the current chunk; return 0 at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class S3BlobStore:
    """A blob store with the S3 API; one instance per process."""

    def __init__(self, settings: Settings) -> None:
        """Create two clients: one for requests, and one that signs URLs for the public host."""
        self._bucket = settings.s3_bucket
        self._client = _s3_client(settings, settings.s3_endpoint)
        self._public = _s3_client(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    def ensure_bucket(self) -> None:
        """Create the bucket if it does not exist; for embedded stores, not for production.

        Raises:
            BlobStoreError: the store does not answer, or refused.
        """
        with _translate_errors():
            names = {bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]}
            if self._bucket not in names:
                self._client.create_bucket(Bucket=self._bucket)

    @_translate_errors()
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
            with _translate_errors():
                yield from body.iter_chunks(CHUNK_BYTES)
        finally:
            body.close()

    @_translate_errors()
    def read(self, key: str, offset: int, length: int) -> bytes:
        """See `BlobStore`."""
        if length == 0:
            return b""
        body = self._get(key, Range=f"bytes={offset}-{offset + length - 1}")
        with body:
            return bytes(body.read())

    @_translate_errors()
    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """See `BlobStore`."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)

    @_translate_errors()
    def put_file(self, key: str, path: Path) -> None:
        """See `BlobStore`."""
        self._client.upload_file(str(path), self._bucket, key)

    @_translate_errors()
    def put_chunks(self, key: str, chunks: Iterator[bytes]) -> None:
        """See `BlobStore`."""
        with io.BufferedReader(_ChunkReader(chunks), CHUNK_BYTES) as file:
            self._client.upload_fileobj(file, self._bucket, key, Config=MULTIPART_CONFIG)

    @_translate_errors()
    def copy(self, source: str, target: str) -> None:
        """See `BlobStore`."""
        self._client.copy({"Bucket": self._bucket, "Key": source}, self._bucket, target)

    @_translate_errors()
    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    @_translate_errors()
    def start_upload(self, key: str) -> str:
        """See `BlobStore`."""
        return str(self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"])

    @_translate_errors()
    def upload_url(self, key: str, upload_id: str, part: int, *, expires_s: int) -> str:
        """See `BlobStore`."""
        params = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id, "PartNumber": part}
        return str(self._public.generate_presigned_url("upload_part", Params=params, ExpiresIn=expires_s))

    @_translate_errors()
    def parts(self, key: str, upload_id: str) -> list[UploadedPart]:
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
        return [UploadedPart(part["PartNumber"], part["Size"], part["ETag"]) for part in found]

    @_translate_errors()
    def finish_upload(self, key: str, upload_id: str, parts: Iterable[UploadedPart]) -> None:
        """See `BlobStore`."""
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
        )

    @_translate_errors()
    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `BlobStore`."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if not _is_missing(error):
                raise

    @_translate_errors()
    def download_url(self, key: str, *, expires_s: int) -> str:
        """See `BlobStore`."""
        params = {"Bucket": self._bucket, "Key": key}
        return str(self._public.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s))

    @_translate_errors()
    def _get(self, key: str, **more: Any) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **more)["Body"]
        except ClientError as error:
            if _is_missing(error):
                raise NotFound(f"there is no object {key} in the store") from error
            raise


def _s3_client(settings: Settings, endpoint: str | None) -> Any:
    access, secret = settings.s3_access_key, settings.s3_secret_key
    return _cached_client(
        os.getpid(),
        endpoint,
        settings.s3_region,
        access.get_secret_value() if access else None,
        secret.get_secret_value() if secret else None,
    )


@lru_cache(maxsize=16)
def _cached_client(
    _process: int, endpoint: str | None, region: str, access: str | None, secret: str | None
) -> Any:
    """One client per account and process, because creating one takes longer than a request; it is thread-safe."""
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
