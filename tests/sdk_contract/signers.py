"""Signers with fixed keys."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.envelope import Role, key_id


@dataclass(frozen=True)
class FixedSigner:
    seed: int

    @property
    def _key(self):
        return Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def public_key(self):
        return self._key.public_key().public_bytes_raw()

    def sign(self, message):
        return self._key.sign(message)


def role(*signers, threshold=1):
    return Role({key_id(signer.public_key): signer.public_key for signer in signers}, threshold)
