"""Device authentication: every mode with valid credentials, and with every kind of invalid one."""

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.errors import (
    DeviceSuspended,
    Replayed,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from service.infrastructure import tokens
from service.infrastructure.tokens import RequestBinding
from tests.service.support.device_requests import (
    ALL,
    ED_PUBLIC,
    EVENTS,
    NOW,
    P256,
    POLL,
    SERVER_SECRET,
    AuthHarness,
    at,
    device_assertion,
    hmac_headers,
    provider_token,
)


@pytest.fixture
def harness():
    return AuthHarness()


# --- modes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "present"),
    [
        ("access", lambda harness: harness.send_token(harness.auth.access_tokens.issue("d1", {}, NOW))),
        ("device_key", lambda harness: harness.send_token(device_assertion())),
        ("idp", lambda harness: harness.send_token(provider_token())),
        ("hmac", lambda harness: harness.send(hmac_headers())),
    ],
)
def test_a_mode_is_accepted_only_if_it_is_turned_on(mode, present):
    assert present(AuthHarness(frozenset({mode}))).device_id
    with pytest.raises(Unauthorized, match=f"does not accept {mode}"):
        present(AuthHarness(ALL - {mode}))


@pytest.mark.parametrize(
    "header", [{}, {"authorization": ""}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}]
)
def test_a_request_without_a_credential_is_refused(harness, header):
    with pytest.raises(
        Unauthorized, match="unauthorized: the request has no token; send `Authorization: Bearer"
    ):
        harness.send(header)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("x", "the token is not a JWT"),
        ("a.b.c", "the token is not a JWT"),
        ("." * 9, "the token is not a JWT"),
        ("e30.e30.", "the token is not a JWT"),
        ("x" * 5000, "the token is longer than"),
        ("é.é.é", "the token is not a JWT"),
        ("[" * 4000, "the token is not a JWT"),
    ],
)
def test_a_malformed_token_is_refused(harness, token, message):
    with pytest.raises(Unauthorized, match=message):
        harness.send_token(token)


def test_a_token_does_not_override_a_wrong_signature_header(harness):
    headers = hmac_headers(secret=b"wrong" * 8) | {"authorization": f"Bearer {device_assertion()}"}
    with pytest.raises(
        Unauthorized, match="unauthorized: the signature is wrong, or the device is not enrolled"
    ):
        harness.send(headers)


# --- the device's own key -------------------------------------------------------------------------


def test_a_device_signs_each_request_with_its_own_key(harness):
    assert harness.send_token(device_assertion()).device_id == "ed"


def test_a_device_with_a_p256_key_signs_with_es256(harness):
    claims = harness.send_token(device_assertion("p256", P256, "ES256"))
    assert (claims.device_id, claims.models) == ("p256", frozenset({"m"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iss": "other"}, "iss and sub of a device assertion must both be the device id"),
        ({"aud": "elsewhere"}, "the token's aud is not graylag"),
        ({"aud": ["graylag", "elsewhere"]}, "the token's aud is not graylag"),
        ({"exp": None}, "the token has no exp"),
        ({"iat": None}, "the token has no iat"),
        ({"jti": None}, "the token has no jti"),
        ({"jti": "short"}, "the assertion's jti must have at least 128 random bits"),
        ({"exp": at(301)}, "iat and exp must be integers"),
        ({"exp": at(10**9)}, "iat and exp must be integers"),
        ({"exp": at(-1), "iat": at(0)}, "iat and exp must be integers"),
        ({"iat": str(at())}, "iat and exp must be integers"),
        ({"htm": "GET"}, "the assertion was signed for another method or path"),
        ({"htm": None}, "the assertion was signed for another method or path"),
        ({"htu": None}, "the token's htu must be a string"),
        (
            {"htu": "https://updates.example/v1/model/events"},
            "the assertion was signed for another method or path",
        ),
        ({"htu": "http://[broken"}, "the assertion's htu is not a URL"),
        ({"bh": None}, "the assertion was signed for another body"),
        ({"bh": "0" * 64}, "the assertion was signed for another body"),
        ({"token_type": "JWT"}, "the token's kid must be a string"),
        ({"token_type": "dpop+jwt"}, "the token's kid must be a string"),
        ({"token_type": "graylag-access+jwt"}, "the token's signature is wrong"),
        ({"key": Ed25519PrivateKey.from_private_bytes(b"\2" * 32)}, "the token's signature is wrong"),
        ({"device": "p256"}, "the token's signature is wrong"),
        ({"device": "nobody"}, "the device is not enrolled with a key"),
        ({"device": "../../etc/passwd"}, "the device is not enrolled with a key"),
    ],
)
def test_a_device_assertion_with_an_invalid_claim_is_refused(harness, changes, message):
    with pytest.raises(Unauthorized, match=message):
        harness.send_token(device_assertion(**changes))
    assert harness.used.keys == set()


@pytest.mark.parametrize("changes", [{"iat": at(-400), "exp": at(-100)}, {"iat": at(100), "exp": at(200)}])
def test_a_device_with_a_wrong_clock_gets_the_server_time(harness, changes):
    with pytest.raises(TokenExpired) as error:
        harness.send_token(device_assertion(**changes))
    assert error.value.extra["server_time"] == at()


def test_an_assertion_for_one_body_is_invalid_for_another(harness):
    with pytest.raises(Unauthorized, match="another body"):
        harness.send_token(device_assertion(), RequestBinding("POST", POLL.path, b'{"device_id":"ed" }'))


def test_hs256_with_the_public_key_as_its_secret_is_refused(harness):
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "graylag-device+jwt"}).encode())
    claims = device_assertion().split(".")[1]
    signed = f"{header.rstrip(b'=').decode()}.{claims}"
    mac = hmac.new(ED_PUBLIC, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthorized, match="unauthorized: the token's signature is wrong"):
        harness.send_token(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_a_decommissioned_device_is_refused_as_suspended(harness):
    with pytest.raises(
        DeviceSuspended, match="device_suspended: this device was decommissioned; ask the operator of"
    ):
        harness.send_token(device_assertion("gone"))


@pytest.mark.parametrize("write", [True, False])
def test_an_assertion_is_valid_for_one_request(harness, write):
    token = device_assertion()
    harness.send_token(token, write=write)
    with pytest.raises(Replayed, match="replayed: used before"):
        harness.send_token(token, write=write)


def test_two_devices_may_use_the_same_jti(harness):
    harness.send_token(device_assertion(jti="j" * 22))
    harness.send_token(device_assertion("p256", P256, "ES256", jti="j" * 22))


def test_while_valkey_is_down_polls_are_answered_and_writes_are_refused(harness):
    harness.used.down = True
    token = device_assertion()
    harness.send_token(token)
    harness.send_token(token)
    with pytest.raises(Unavailable) as error:
        harness.send_token(device_assertion(binding=EVENTS), EVENTS, write=True)
    assert error.value.retry_after_s == 5


# --- the shared secret ----------------------------------------------------------------------------


def test_a_device_authenticates_with_a_shared_secret(harness):
    assert harness.send(hmac_headers()).device_id == "tiny"


def test_the_mac_is_the_one_that_the_contract_specifies():
    secret = tokens.derive_device_secret(b"k" * 32, "tiny", b"s" * 16)
    mac = tokens.request_mac(secret, "tiny", "1", "n" * 22, RequestBinding("POST", "/p", b""))
    empty = hashlib.sha256(b"").hexdigest()
    lines = f"graylag-hmac-v1\ntiny\nPOST\n/p\n1\n{'n' * 22}\n{empty}"
    assert mac == hmac.new(secret, lines.encode(), "sha256").hexdigest()
    assert secret != tokens.derive_device_secret(b"k" * 32, "tiny", b"t" * 16)
    assert secret != tokens.derive_device_secret(b"k" * 32, "tinz", b"s" * 16)


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_a_timestamp_outside_the_window_is_refused_with_the_server_time(harness, seconds):
    with pytest.raises(TokenExpired) as error:
        harness.send(hmac_headers(seconds=seconds))
    assert error.value.extra["server_time"] == at()


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_inside_the_window_is_accepted(harness, seconds):
    assert harness.send(hmac_headers(seconds=seconds)).device_id == "tiny"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x-graylag-device", "ed", "the signature is wrong"),
        ("x-graylag-device", "nobody", "the signature is wrong"),
        ("x-graylag-device", "", "the signature is wrong"),
        ("x-graylag-device", "a" * 4000, "the signature is wrong"),
        ("x-graylag-timestamp", str(at(1)), "the signature is wrong"),
        ("x-graylag-timestamp", "", "x-graylag-timestamp must be Unix time"),
        ("x-graylag-timestamp", "1e9", "x-graylag-timestamp must be Unix time"),
        ("x-graylag-timestamp", "٣" * 10, "x-graylag-timestamp must be Unix time"),
        ("x-graylag-timestamp", "9" * 400, "x-graylag-timestamp must be Unix time"),
        ("x-graylag-nonce", "n" * 30, "the signature is wrong"),
        ("x-graylag-nonce", "short", "x-graylag-timestamp must be Unix time"),
        ("x-graylag-nonce", "n" * 65, "x-graylag-timestamp must be Unix time"),
        ("x-graylag-nonce", "n" * 21 + "\n", "x-graylag-timestamp must be Unix time"),
        ("x-graylag-signature", "0" * 64, "the signature is wrong"),
        ("x-graylag-signature", "", "the signature is wrong"),
        ("x-graylag-signature", "é" * 64, "the signature is wrong"),
    ],
)
def test_a_signed_request_with_one_header_changed_is_refused(harness, name, value, message):
    with pytest.raises(Unauthorized, match=message):
        harness.send(hmac_headers() | {name: value})
    assert harness.used.keys == set()


@pytest.mark.parametrize(
    "other", [EVENTS, RequestBinding("GET", POLL.path, POLL.body), RequestBinding("POST", POLL.path, b"{}")]
)
def test_a_signature_over_one_request_is_invalid_for_another(harness, other):
    with pytest.raises(
        Unauthorized, match="unauthorized: the signature is wrong, or the device is not enrolled"
    ):
        harness.send(hmac_headers(), other)


def test_a_nonce_is_valid_once_and_writes_need_valkey(harness):
    headers = hmac_headers()
    harness.send(headers)
    with pytest.raises(Replayed, match="replayed: used before"):
        harness.send(headers)
    harness.used.down = True
    harness.send(headers)
    with pytest.raises(Unavailable, match="unavailable: Valkey does not answer"):
        harness.send(hmac_headers(binding=EVENTS), EVENTS, write=True)


def test_a_device_without_a_secret_cannot_use_that_of_the_zero_salt(harness):
    forged = tokens.derive_device_secret(SERVER_SECRET, "ed", b"\0" * 16)
    with pytest.raises(
        Unauthorized, match="unauthorized: the signature is wrong, or the device is not enrolled"
    ):
        harness.send(hmac_headers("ed", secret=forged))
