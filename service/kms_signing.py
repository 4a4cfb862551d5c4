"""Keys that never leave a key store: signing through securesystemslib, which is an optional extra (`kms`).

A URI names the store's key and, behind `#`, the raw public key in hex: the store is asked for signatures,
never for what to believe. Documents are signed with Ed25519; of the stores that securesystemslib 1.6
knows, HashiCorp Vault's transit engine (`hv:NAME/VERSION#HEX`) offers that.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.envelope import key_id

SCHEMES = ("hv", "awskms", "azurekms", "gcpkms", "hsm")
_LIBRARY = "securesystemslib.signer"


class KeyStoreFailed(ValueError):
    """The library is missing, the URI is not one, or the store did not sign."""


@dataclass(frozen=True, slots=True)
class KeyStoreSigner:
    """A private key in a key store.

    Attributes:
        remote: securesystemslib's signer.
        public_key: 32 raw bytes, as the URI says.
    """

    remote: Any
    public_key: bytes

    @property
    def key_id(self) -> str:
        """As envelopes name it."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes, Ed25519; checked before they are believed.

        Raises:
            KeyStoreFailed: the store is away, or signed with another key.
        """
        try:
            signature = bytes.fromhex(self.remote.sign(message).signature)
        except Exception as error:
            # Each store has errors of its own, and securesystemslib documents that it passes them through.
            raise KeyStoreFailed(f"the key store did not sign: {type(error).__name__}") from error
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature as error:
            raise KeyStoreFailed("the key store signed with another key than the URI names") from error
        return signature


def signer_at(uri: str) -> KeyStoreSigner:
    """The signer at a key store's URI.

    Raises:
        KeyStoreFailed: no public key in it, the extra is not installed, or the store refuses.
    """
    place, _, hexadecimal = uri.partition("#")
    try:
        public_key = bytes.fromhex(hexadecimal)
        Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise KeyStoreFailed("the URI of a key store ends in # and 64 hex digits of public key") from error
    try:
        library = importlib.import_module(_LIBRARY)
    except ImportError as error:
        raise KeyStoreFailed("key stores need the extra: pip install 'graylag[kms]'") from error
    try:
        key = library.SSlibKey(key_id(public_key), "ed25519", "ed25519", {"public": public_key.hex()})
        return KeyStoreSigner(library.Signer.from_priv_key_uri(place, key), public_key)
    except Exception as error:
        raise KeyStoreFailed(f"the key store refused: {type(error).__name__}") from error
