"""The object store: blobs by digest, manifests, and multipart uploads."""

from service.infrastructure.blobs.reader import BlobReader
from service.infrastructure.blobs.s3 import S3BlobStore
from service.infrastructure.blobs.store import BlobStore, BlobStoreError, UploadedPart, blob_key, manifest_key

__all__ = [
    "BlobReader",
    "BlobStore",
    "BlobStoreError",
    "S3BlobStore",
    "UploadedPart",
    "blob_key",
    "manifest_key",
]
