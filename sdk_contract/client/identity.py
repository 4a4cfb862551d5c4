"""Who this device is: its key, its configuration, the trust it was given, and how it proves itself."""

import base64
import json
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.files import Files, replace
from sdk_contract.client.store import read_bounded
from sdk_contract.documents import DeviceId, Name
from sdk_contract.envelope import key_id
from sdk_contract.wire import AttributeValue, EnrolRequest, proof_message

ASSERTION_LIFE_S = 240
MAX_CONFIGURATION = 64 * 1024


class Configuration(BaseModel):
    """What enrolment fixed, in `device.json`.

    Attributes:
        server: base URL without a trailing slash.
        modules: the components that this device wants; absent for all.
        plain_http: the operator allowed http to another machine.
        factory: directory of what shipped inside the app.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    device_id: DeviceId
    model: Name | None = None
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict)
    modules: list[Name] | None = None
    plain_http: bool = False
    factory: str | None = None

    def save(self, directory: Path, files: Files) -> None:
        """Write `device.json`, all or nothing."""
        replace(files, directory / "device.json", self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, directory: Path) -> "Configuration":
        """Read `device.json`.

        Raises:
            StateDamaged: missing or not readable: the device has to enrol.
        """
        try:
            return cls.model_validate_json(read_bounded(directory / "device.json", MAX_CONFIGURATION))
        except FileNotFoundError as error:
            raise StateDamaged(f"{directory} holds no device; enrol one there") from error
        except (OSError, ValidationError) as error:
            raise StateDamaged(f"{directory / 'device.json'}: {error}") from error


class DeviceKey:
    """The device's Ed25519 key; in `device.key`, 32 raw bytes, mode 0600.

    A port keeps it in the platform's key store and offers the same three methods.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Hold the key."""
        self._private = private

    @classmethod
    def load_or_make(cls, directory: Path, files: Files) -> "DeviceKey":
        """The key of the directory; made on the first call.

        Raises:
            StateDamaged: the file is there but holds no key.
        """
        path = directory / "device.key"
        if not path.exists():
            fresh = Ed25519PrivateKey.generate()
            raw = fresh.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            replace(files, path, raw)
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(read_bounded(path, 32)))
        except ValueError as error:
            raise StateDamaged(f"{path}: not a key") from error

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """64 raw bytes."""
        return self._private.sign(message)

    def enrolment(
        self, device_id: str, enrolment_token: str, attributes: dict[str, AttributeValue]
    ) -> EnrolRequest:
        """The body of the first request: the public half, and the proof that we hold the other."""
        proof = self.sign(proof_message(device_id, self.public_key, enrolment_token))
        return EnrolRequest(
            device_id=device_id,
            public_key=base64.b64encode(self.public_key).decode(),
            proof=base64.b64encode(proof).decode(),
            enrolment_token=enrolment_token,
            attributes=attributes,
        )

    def assertion(self, device_id: str, *, clock_off_s: int = 0) -> str:
        """A JWT that the token endpoint exchanges for an access token (RFC 7515 compact form, RFC 8037).

        Args:
            device_id: who we are.
            clock_off_s: seconds that our clock is behind the server's.
        """
        now = int(time.time()) + clock_off_s
        header = {"alg": "EdDSA", "typ": "graylag-device+jwt", "kid": key_id(self.public_key)}
        claims = {
            "iss": device_id,
            "sub": device_id,
            "aud": "graylag",
            "iat": now,
            "exp": now + ASSERTION_LIFE_S,
            "jti": secrets.token_urlsafe(16),
        }
        signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
        return f"{signed}.{_part(self.sign(signed.encode()))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
