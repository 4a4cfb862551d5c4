"""Enrollment and assertions with P-256 keys, the only ones that hardware key stores support."""

import base64
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sdk_contract.wire import proof_message
from tests.service.support.actors import ok, refused


@pytest.fixture
def private():
    return ec.generate_private_key(ec.SECP256R1())


def point(private):
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def enrollment_body(live, private, signer=None):
    message = proof_message("phone-1", point(private), live.enrollment_token)
    r, s = decode_dss_signature((signer or private).sign(message, ec.ECDSA(hashes.SHA256())))
    return {
        "device_id": "phone-1",
        "public_key": base64.b64encode(point(private)).decode(),
        "proof": base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode(),
        "enrollment_token": live.enrollment_token,
    }


def test_a_device_with_a_p256_key_enrolls_and_gets_an_access_token_with_es256(live, private):
    assert (
        ok(live.client.post("/v1/device/enroll", json=enrollment_body(live, private)))["status"] == "accepted"
    )
    now = int(time.time())
    claims = {"iss": "phone-1", "sub": "phone-1", "aud": "graylag", "iat": now, "exp": now + 60}
    assertion = jwt.encode(
        claims | {"jti": secrets.token_hex(16)}, private, "ES256", headers={"typ": "graylag-device+jwt"}
    )
    assert ok(live.client.post("/v1/device/token", json={"assertion": assertion}))["access_token"]


def test_a_proof_with_another_p256_key_is_refused(live, private):
    other = ec.generate_private_key(ec.SECP256R1())
    refused(
        live.client.post("/v1/device/enroll", json=enrollment_body(live, private, other)),
        422,
        "invalid",
        "proof",
    )


def test_a_public_key_that_is_not_on_the_curve_is_refused(live, private):
    off = enrollment_body(live, private) | {"public_key": base64.b64encode(b"\x04" + b"\x01" * 64).decode()}
    refused(live.client.post("/v1/device/enroll", json=off), 422, "invalid", "proof")
