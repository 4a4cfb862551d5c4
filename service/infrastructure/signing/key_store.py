"""Keys in a key store: signing through securesystemslib, an optional extra (`kms`).

A URI names the key in the store and, after `#`, the raw public key in hex, because the store is trusted to sign but not to
say which key is right. Documents are signed with Ed25519. Of the stores that securesystemslib 1.6 supports, HashiCorp
Vault's transit engine (`hv:NAME/VERSION#HEX`) offers that.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.envelope import key_id

KEY_STORE_SCHEMES = ("hv", "awskms", "azurekms", "gcpkms", "hsm")
_LIBRARY = "securesystemslib.signer"


class KeyStoreError(ValueError):
    """The library is missing, the URI is invalid, or the store did not sign."""


@dataclass(frozen=True, slots=True)
class KeyStoreSigner:
    """Signs with a private key in a key store.

    Attributes:
        remote: the signer of securesystemslib.
        public_key: 32 raw bytes, from the URI.
    """

    remote: Any
    public_key: bytes

    @property
    def key_id(self) -> str:
        """The id of the key in envelopes."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 raw bytes, verified with the public key of the URI.

        Raises:
            KeyStoreError: the store does not answer, or signed with another key.
        """
        try:
            signature = bytes.fromhex(self.remote.sign(message).signature)
        except Exception as error:
            # Each store has its own exceptions, and securesystemslib passes them through.
            raise KeyStoreError(f"the key store did not sign: {type(error).__name__}") from error
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature as error:
            raise KeyStoreError("the key store signed with another key than the one in the URI") from error
        return signature


def key_store_signer(uri: str) -> KeyStoreSigner:
    """The signer that the URI of a key store names.

    Raises:
        KeyStoreError: the URI has no public key, the extra is not installed, or the store refused.
    """
    place, _, hexadecimal = uri.partition("#")
    try:
        public_key = bytes.fromhex(hexadecimal)
        Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise KeyStoreError(
            "the URI of a key store must end in # and the public key, 64 hex digits"
        ) from error
    try:
        library = importlib.import_module(_LIBRARY)
    except ImportError as error:
        raise KeyStoreError("key stores need an extra; run pip install 'graylag[kms]'") from error
    try:
        key = library.SSlibKey(key_id(public_key), "ed25519", "ed25519", {"public": public_key.hex()})
        return KeyStoreSigner(library.Signer.from_priv_key_uri(place, key), public_key)
    except Exception as error:
        raise KeyStoreError(f"the key store refused: {type(error).__name__}") from error
