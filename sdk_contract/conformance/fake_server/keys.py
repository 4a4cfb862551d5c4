"""Signing keys of a fake server, made anew for each scenario."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.envelope import key_id

ROLES = ("root", "publisher", "director", "patcher")


class Key:
    """A random Ed25519 private key; implements `signing.Signer`."""

    def __init__(self) -> None:
        """Generate a key."""
        self._private = Ed25519PrivateKey.generate()
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self._public

    @property
    def id(self) -> str:
        """Key id, as a trust bundle lists it."""
        return key_id(self._public)

    def sign(self, message: bytes) -> bytes:
        """Signature of `message`, 64 raw bytes."""
        return self._private.sign(message)


def make_keys() -> dict[str, Key]:
    """One key per role, one of a stranger, and second keys for rotations and thresholds."""
    names = (*ROLES, "stranger", "root2", "publisher2", "director2")
    return {name: Key() for name in names}
