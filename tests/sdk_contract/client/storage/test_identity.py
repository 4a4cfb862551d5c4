import base64
import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.storage.identity import DeviceConfiguration, DeviceKey
from sdk_contract.envelope import key_id
from sdk_contract.wire import proof_message
from tests.sdk_contract.client.documents import decode_base64url


@pytest.fixture
def key(tmp_path):
    return DeviceKey.load_or_create(tmp_path, LocalFileSystem())


def test_the_key_is_created_once_and_only_its_owner_can_read_it(key, tmp_path):
    assert DeviceKey.load_or_create(tmp_path, LocalFileSystem()).public_key == key.public_key
    assert stat.S_IMODE((tmp_path / "device.key").stat().st_mode) == 0o600


def test_a_file_without_a_valid_key_is_reported(tmp_path):
    (tmp_path / "device.key").write_bytes(b"short")
    with pytest.raises(StateDamaged, match="is not an Ed25519 key of 32 bytes"):
        DeviceKey.load_or_create(tmp_path, LocalFileSystem())


def test_the_enrollment_request_proves_possession_of_the_private_key(key):
    request = key.enrollment_request("d1", "token", {})
    message = proof_message("d1", key.public_key, "token")
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(base64.b64decode(request.proof), message)


def test_an_assertion_is_a_unique_jwt_that_is_valid_for_four_minutes(key):
    header, claims, signature = key.assertion("d1").split(".")
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(
        decode_base64url(signature), f"{header}.{claims}".encode()
    )
    assert json.loads(decode_base64url(header)) == {
        "alg": "EdDSA",
        "typ": "graylag-device+jwt",
        "kid": key_id(key.public_key),
    }
    fields = json.loads(decode_base64url(claims))
    assert (fields["iss"], fields["sub"], fields["aud"]) == ("d1", "d1", "graylag")
    assert 0 < fields["exp"] - fields["iat"] <= 300
    assert len(decode_base64url(fields["jti"])) == 16
    assert key.assertion("d1") != key.assertion("d1")


def test_a_saved_configuration_is_read_unchanged(tmp_path):
    saved = DeviceConfiguration(
        server="https://x", device_id="d", attributes={"ram_mb": 8, "soc": "a", "hot": True}
    )
    saved.save(tmp_path, LocalFileSystem())
    assert DeviceConfiguration.read(tmp_path) == saved


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"server": "https://x", "device_id": "../etc"}'])
def test_an_invalid_configuration_is_reported(tmp_path, text):
    (tmp_path / "device.json").write_bytes(text)
    with pytest.raises(StateDamaged, match=r"device\.json: \d validation errors? for DeviceConfiguration"):
        DeviceConfiguration.read(tmp_path)
