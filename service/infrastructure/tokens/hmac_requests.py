"""HMAC requests: a device proves its identity with a MAC over every request, with a shared secret."""

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.infrastructure.tokens.request_binding import RequestBinding


def derive_device_secret(server_secret: bytes, device_id: str, salt: bytes) -> bytes:
    """The shared secret of a device, 32 bytes by HKDF-SHA256 (RFC 5869), so no secret is stored."""
    info = b"graylag-hmac-v1\0" + device_id.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(server_secret)


def request_mac(secret: bytes, device_id: str, timestamp: str, nonce: str, binding: RequestBinding) -> str:
    """HMAC-SHA256, hex, over the lines version, device id, method, path, timestamp, nonce, SHA-256 of the body."""
    digest = hashlib.sha256(binding.body).hexdigest()
    lines = ("graylag-hmac-v1", device_id, binding.method, binding.path, timestamp, nonce, digest)
    return hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
