"""The device's identity: its configuration and its Ed25519 key."""

import base64
import json
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.storage.file_system import FileSystem, write_atomically
from sdk_contract.client.storage.store import read_bounded
from sdk_contract.documents import DeviceId, Name
from sdk_contract.envelope import key_id
from sdk_contract.wire import AttributeValue, EnrollRequest, proof_message

ASSERTION_LIFE_S = 240
MAX_CONFIGURATION = 64 * 1024


class DeviceConfiguration(BaseModel):
    """The configuration from enrollment, stored in `device.json`.

    Attributes:
        server: base URL without a trailing slash.
        device_id: unique in the fleet.
        model: the model to poll for; absent when the server has only one.
        attributes: device attributes for cohort rules and variant selectors.
        wanted_components: names of the components to install; absent for all.
        allow_http: whether the operator allowed http to another machine.
        factory: directory of the version that shipped with the app.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    device_id: DeviceId
    model: Name | None = None
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict)
    wanted_components: list[Name] | None = None
    allow_http: bool = False
    factory: str | None = None

    def save(self, directory: Path, file_system: FileSystem) -> None:
        """Write `device.json` atomically."""
        write_atomically(file_system, directory / "device.json", self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, directory: Path) -> "DeviceConfiguration":
        """Read `device.json`.

        Raises:
            StateDamaged: the file is missing or invalid; the device has to enroll.
        """
        try:
            return cls.model_validate_json(read_bounded(directory / "device.json", MAX_CONFIGURATION))
        except FileNotFoundError as error:
            raise StateDamaged(f"no device is enrolled in {directory}; enroll one first") from error
        except (OSError, ValidationError) as error:
            raise StateDamaged(f"{directory / 'device.json'}: {error}") from error


class DeviceKey:
    """The device's Ed25519 private key, stored in `device.key` as 32 raw bytes with mode 0600.

    A port keeps the key in the platform's key store and offers the same methods.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Wrap a private key."""
        self._private = private

    @classmethod
    def load_or_create(cls, directory: Path, file_system: FileSystem) -> "DeviceKey":
        """Load the directory's key, and create it on the first call.

        Raises:
            StateDamaged: the file exists but is not a key.
        """
        path = directory / "device.key"
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            write_atomically(file_system, path, raw)
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(read_bounded(path, 32)))
        except ValueError as error:
            raise StateDamaged(f"{path} is not an Ed25519 key of 32 bytes") from error

    @property
    def public_key(self) -> bytes:
        """The public key, 32 raw bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """Sign a message; returns 64 raw bytes."""
        return self._private.sign(message)

    def enrollment_request(
        self, device_id: str, enrollment_token: str, attributes: dict[str, AttributeValue]
    ) -> EnrollRequest:
        """Build the enrollment request: the public key, and a signature that proves possession of the private key."""
        proof = self.sign(proof_message(device_id, self.public_key, enrollment_token))
        return EnrollRequest(
            device_id=device_id,
            public_key=base64.b64encode(self.public_key).decode(),
            proof=base64.b64encode(proof).decode(),
            enrollment_token=enrollment_token,
            attributes=attributes,
        )

    def assertion(self, device_id: str, *, clock_offset_s: int = 0) -> str:
        """Create a JWT that the token endpoint exchanges for an access token (RFC 7515 compact form, RFC 8037).

        Args:
            device_id: this device.
            clock_offset_s: the server's clock minus the device's clock, seconds.
        """
        now = int(time.time()) + clock_offset_s
        header = {"alg": "EdDSA", "typ": "graylag-device+jwt", "kid": key_id(self.public_key)}
        claims = {
            "iss": device_id,
            "sub": device_id,
            "aud": "graylag",
            "iat": now,
            "exp": now + ASSERTION_LIFE_S,
            "jti": secrets.token_urlsafe(16),
        }
        signed = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        return f"{signed}.{_base64url(self.sign(signed.encode()))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
