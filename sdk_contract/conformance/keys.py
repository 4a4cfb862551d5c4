"""Keys of one scenario's server, made anew each time."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.envelope import key_id

ROLES = ("root", "publisher", "director", "patcher")


class Key:
    """An Ed25519 private key; fits `envelope.Signer`."""

    def __init__(self) -> None:
        """Make one."""
        self._private = Ed25519PrivateKey.generate()
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self._public

    @property
    def id(self) -> str:
        """As a trust bundle names it."""
        return key_id(self._public)

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes."""
        return self._private.sign(message)


def keyring() -> dict[str, Key]:
    """One key per role, a stranger, and spares for rotations and thresholds."""
    names = (*ROLES, "stranger", "root2", "publisher2", "director2")
    return {name: Key() for name in names}
