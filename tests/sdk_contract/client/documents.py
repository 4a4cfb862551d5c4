"""Keys, blobs, versions and formats for the simulated server and the tests."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Manifest, format_timestamp


class Key:
    """A private key with the interface that envelopes need."""

    def __init__(self):
        self.private = Ed25519PrivateKey.generate()
        self.public_key = self.private.public_key().public_bytes_raw()

    def sign(self, message):
        return self.private.sign(message)


class Blob:
    """Bytes that can be read by range, for the patch builder."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


@dataclass
class Version:
    label: str
    counter: int
    files: dict[str, bytes]
    manifest: Manifest
    envelope: bytes


def sha256_hex(data):
    return hashlib.sha256(data).hexdigest()


def timestamp_in(**delta):
    return format_timestamp(datetime.now(UTC) + timedelta(**delta))


def decode_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
