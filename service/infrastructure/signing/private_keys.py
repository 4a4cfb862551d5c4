"""Private keys: load a signer by URI, or create a key file.

`file:PATH` and `env:NAME` name a PEM file, or a variable with a PEM, that contains an Ed25519 private key. The PEM may be
encrypted with the passphrase in `GRAYLAG_KEY_PASSPHRASE`, or in the file that `GRAYLAG_KEY_PASSPHRASE_FILE` names. Other
schemes name a key store; see `key_store`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.envelope import key_id
from sdk_contract.signing import Signer
from service.errors import ServiceError
from service.infrastructure.ed25519 import SodiumSigner
from service.infrastructure.signing.key_store import (
    KEY_STORE_SCHEMES,
    KeyStoreError,
    KeyStoreSigner,
    key_store_signer,
)

URI_SCHEMES = ("file", "env", *KEY_STORE_SCHEMES)


class KeyUnusable(ServiceError):
    """A signing key is not configured, cannot be read, or is not an Ed25519 key."""

    code, status, title = "key_unusable", 500, "Signing key unusable"


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """Signs with a private key in the memory of this process."""

    key: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """The public key, 32 raw bytes."""
        return self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """The id of the key in envelopes."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 raw bytes."""
        return self.key.sign(message)


def load_signer(uri: str | None, purpose: str) -> LocalSigner | KeyStoreSigner:
    """The signer that a setting names.

    Args:
        uri: the value of the setting.
        purpose: the role of the key, for messages.

    Raises:
        KeyUnusable: the key cannot be used; the message names the setting and never contains the key.
    """
    if not uri:
        raise KeyUnusable(
            f"no {purpose} key is configured; set GRAYLAG_{purpose.upper()}_KEY to file:PATH or env:NAME"
        )
    scheme, _, place = uri.partition(":")
    if scheme in KEY_STORE_SCHEMES:
        return _from_store(uri, purpose)
    if scheme not in URI_SCHEMES:
        # The value may be the key itself, so it must not be shown.
        raise KeyUnusable(
            f"GRAYLAG_{purpose.upper()}_KEY must start with one of {', '.join(f'{s}:' for s in URI_SCHEMES)}"
        )
    try:
        pem = {"file": _from_file, "env": _from_environment}[scheme](place)
        key = serialization.load_pem_private_key(pem, _passphrase())
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise KeyUnusable(f"the {purpose} key at {uri} cannot be used: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the {purpose} key at {uri} is not Ed25519")
    return LocalSigner(key)


def with_libsodium(signer: LocalSigner | KeyStoreSigner) -> Signer:
    """The same signer with libsodium, for a process that signs often; key store signers are returned unchanged."""
    return SodiumSigner.of(signer.key) if isinstance(signer, LocalSigner) else signer


def _from_store(uri: str, purpose: str) -> KeyStoreSigner:
    try:
        return key_store_signer(uri)
    except KeyStoreError as error:
        raise KeyUnusable(f"the {purpose} key at {uri} cannot be used: {error}") from error


def create_key(path: Path) -> LocalSigner:
    """Create a key and write it to a PEM file that only its owner can read.

    Raises:
        FileExistsError: the file exists; keys are never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    passphrase = _passphrase()
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except OSError:
        path.unlink()  # a partial file would make the next attempt fail
        raise
    return LocalSigner(key)


def _from_file(place: str) -> bytes:
    return Path(place).read_bytes()


def _from_environment(name: str) -> bytes:
    return os.environ[name].encode()


def _passphrase() -> bytes | None:
    text = os.environ.get("GRAYLAG_KEY_PASSPHRASE")
    path = os.environ.get("GRAYLAG_KEY_PASSPHRASE_FILE")
    if not text and path:
        try:
            text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            # Never write or read a key without the passphrase that was meant.
            raise KeyUnusable(
                f"GRAYLAG_KEY_PASSPHRASE_FILE: {path} cannot be read: {type(error).__name__}"
            ) from error
    return text.encode() if text else None
