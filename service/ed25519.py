"""Ed25519 by libsodium, for the two places where polls spend most of their time; elsewhere OpenSSL does it.

Both make the same signatures (RFC 8032 leaves nothing to choice). libsodium takes about half the time, and in checking
it is the stricter one: beside `S` that is not reduced, it refuses public keys and `R` of small order, and public keys
that are not in their one canonical form. Nobody who has drawn a key has one of those.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_open
from nacl.exceptions import BadSignatureError

PUBLIC, SIGNATURE = 32, 64
"""Bytes of a public key and of a signature."""


def fits(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is by the private half of this key; false also for what is no key or no signature."""
    # The library reads that many bytes, however many there are.
    if len(public_key) != PUBLIC or len(signature) != SIGNATURE:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class QuickSigner:
    """A private key that signs often.

    Its 64 bytes lie in the memory of this process for as long as the signer lives, as they do in OpenSSL's own object; unlike
    there, they are not wiped when it goes. So this is for a process that holds its key until it ends.

    Attributes:
        public_key: 32 raw bytes.
    """

    public_key: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> "QuickSigner":
        """The signer of that key."""
        public_key = key.public_key().public_bytes_raw()
        return cls(public_key, key.private_bytes_raw() + public_key)

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes, Ed25519."""
        return crypto_sign(message, self._secret)[:SIGNATURE]
