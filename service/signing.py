"""Keys and who holds them: a signer by URI, and the first trust bundle.

`file:PATH` and `env:NAME` name a PEM with an Ed25519 private key, encrypted with the passphrase in
`GRAYLAG_KEY_PASSPHRASE` (or in the file that `GRAYLAG_KEY_PASSPHRASE_FILE` names) or not at all. Other schemes name a key store: see `kms_signing`.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract import strict_json
from sdk_contract.documents import RoleKeys, RoleName, TrustBundle, public_key_entry, timestamp
from sdk_contract.envelope import Role, key_id, pae, peek
from sdk_contract.errors import ContractError
from sdk_contract.writing import Signer
from service.domain.trust_changes import TRUST_LIFETIME
from service.ed25519 import QuickSigner
from service.errors import ServiceError
from service.kms_signing import SCHEMES, KeyStoreFailed, KeyStoreSigner, signer_at

URI_SCHEMES = ("file", "env", *SCHEMES)
ROLES: tuple[RoleName, ...] = ("root", "publisher", "director", "patcher")


class KeyUnusable(ServiceError):
    """A key is not configured, not readable, or of the wrong kind."""

    code, status, title = "key_unusable", 500, "Signing key unusable"


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in the memory of this process."""

    key: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """As envelopes name it."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes, Ed25519."""
        return self.key.sign(message)


def signer_from(uri: str | None, purpose: str) -> KeySigner | KeyStoreSigner:
    """The signer that a setting names.

    Raises:
        KeyUnusable: no such key here; the message names the setting and never the key.
    """
    if not uri:
        raise KeyUnusable(
            f"no {purpose} key here; set GRAYLAG_{purpose.upper()}_KEY to file:PATH or env:NAME"
        )
    scheme, _, place = uri.partition(":")
    if scheme in SCHEMES:
        return _from_store(uri, purpose)
    if scheme not in URI_SCHEMES:
        # What stands there may be the key itself.
        raise KeyUnusable(f"the {purpose} key is named by {', '.join(f'{s}:...' for s in URI_SCHEMES)}")
    try:
        pem = {"file": _from_file, "env": _from_environment}[scheme](place)
        key = serialization.load_pem_private_key(pem, _passphrase())
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise KeyUnusable(f"the {purpose} key at {uri} cannot be used: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the {purpose} key at {uri} is not Ed25519")
    return KeySigner(key)


def quick(signer: KeySigner | KeyStoreSigner) -> Signer:
    """The same signer for a process that signs all day; a key that is kept elsewhere stays there."""
    return QuickSigner.of(signer.key) if isinstance(signer, KeySigner) else signer


def _from_store(uri: str, purpose: str) -> KeyStoreSigner:
    try:
        return signer_at(uri)
    except KeyStoreFailed as error:
        raise KeyUnusable(f"the {purpose} key at {uri} cannot be used: {error}") from error


def create_key(path: Path) -> KeySigner:
    """Make a key and write it where only its owner can read it.

    Raises:
        FileExistsError: there is one already; keys are never overwritten.
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
        path.unlink()  # a half of a key would stand in the way of the next try
        raise
    return KeySigner(key)


def first_trust_bundle(
    signers: Mapping[RoleName, Sequence[Signer]], *, now: datetime, root_threshold: int = 1
) -> bytes:
    """Version 1 of the trust bundle, in an envelope signed by all root keys.

    Args:
        signers: role -> who holds its keys.
        now: it lives for a year from here.
        root_threshold: how many root keys have to sign each later bundle; one key of any other role is enough.
    """
    entries = {
        role: dict(public_key_entry(signer.public_key) for signer in holders)
        for role, holders in signers.items()
    }
    thresholds = {"root": root_threshold}
    bundle = TrustBundle(
        version=1,
        expires=timestamp(now + TRUST_LIFETIME),
        keys={keyid: key for held in entries.values() for keyid, key in held.items()},
        roles={
            role: RoleKeys(keys=list(held), threshold=thresholds.get(role, 1))
            for role, held in entries.items()
        },
    )
    return bundle.seal(signers["root"])


def countersign(envelope: bytes, signers: Sequence[Signer]) -> bytes:
    """The envelope with further signatures: root keys lie in different places, and sign one after another.

    Raises:
        ContractError: not an envelope.
    """
    payload = peek(envelope, limit=TrustBundle.limit)
    outer = strict_json.loads(envelope, limit=TrustBundle.limit)
    message = pae(outer["payloadType"], payload)
    fresh = {key_id(signer.public_key): signer.sign(message) for signer in signers}
    kept = [entry for entry in outer["signatures"] if entry["keyid"] not in fresh]
    added = [{"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in fresh.items()]
    return strict_json.dumps({**outer, "signatures": [*kept, *added]})


def signed_by(envelope: bytes, role: Role) -> list[str]:
    """Which keys of a role have signed the trust bundle in an envelope, whether or not they are enough.

    Raises:
        ContractError: not an envelope.
    """
    voices = []
    for keyid, public_key in role.keys.items():
        try:
            TrustBundle.open(_only(envelope, keyid), Role({keyid: public_key}, 1))
        except ContractError:
            continue
        voices.append(keyid)
    return voices


def _only(envelope: bytes, keyid: str) -> bytes:
    """The envelope with the signatures under one id: another's bad one does not count against it."""
    outer = strict_json.loads(envelope, limit=TrustBundle.limit)
    kept = [entry for entry in outer["signatures"] if entry["keyid"] == keyid]
    return strict_json.dumps({**outer, "signatures": kept})


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
            # Never without a passphrase where one was meant.
            raise KeyUnusable(f"GRAYLAG_KEY_PASSPHRASE_FILE: {path} cannot be read") from error
    return text.encode() if text else None
