"""Ed25519 by libsodium, for the two places where polls spend most of their time; OpenSSL does the rest.

Both libraries make the same signatures (RFC 8032 is deterministic). libsodium takes about half the time, and its
verification is stricter: besides an unreduced `S`, it rejects public keys and `R` of small order, and public keys in
non-canonical form. No honestly generated key is affected.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_open
from nacl.exceptions import BadSignatureError

PUBLIC_KEY_BYTES, SIGNATURE_BYTES = 32, 64
"""Lengths of a public key and of a signature."""


def verify_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is valid; False also if the key or the signature is malformed."""
    # libsodium reads that many bytes without checking the length.
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SodiumSigner:
    """Signs with a private key in memory.

    The key stays in memory as long as the signer lives, as in OpenSSL, but it is not wiped afterwards. So this is only for a
    process that keeps its key until it ends.

    Attributes:
        public_key: 32 raw bytes.
    """

    public_key: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> "SodiumSigner":
        """The signer of an OpenSSL key."""
        public_key = key.public_key().public_bytes_raw()
        return cls(public_key, key.private_bytes_raw() + public_key)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 raw bytes."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]
