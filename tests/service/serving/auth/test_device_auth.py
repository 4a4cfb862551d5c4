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
    with pytest.raises(Unauthorized):
        harness.send(header)


@pytest.mark.parametrize("token", ["x", "a.b.c", "." * 9, "e30.e30.", "x" * 5000, "é.é.é", "[" * 4000])
def test_a_malformed_token_is_refused(harness, token):
    with pytest.raises(Unauthorized):
        harness.send_token(token)


def test_a_token_does_not_override_a_wrong_signature_header(harness):
    headers = hmac_headers(secret=b"wrong" * 8) | {"authorization": f"Bearer {device_assertion()}"}
    with pytest.raises(Unauthorized):
        harness.send(headers)


# --- the device's own key -------------------------------------------------------------------------


def test_a_device_signs_each_request_with_its_own_key(harness):
    assert harness.send_token(device_assertion()).device_id == "ed"


def test_a_device_with_a_p256_key_signs_with_es256(harness):
    claims = harness.send_token(device_assertion("p256", P256, "ES256"))
    assert (claims.device_id, claims.models) == ("p256", frozenset({"m"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "elsewhere"},
        {"aud": ["graylag", "elsewhere"]},
        {"exp": None},
        {"iat": None},
        {"jti": None},
        {"jti": "short"},
        {"exp": at(301)},
        {"exp": at(10**9)},
        {"exp": at(-1), "iat": at(0)},
        {"iat": str(at())},
        {"htm": "GET"},
        {"htm": None},
        {"htu": None},
        {"htu": "https://updates.example/v1/model/events"},
        {"htu": "http://[broken"},
        {"bh": None},
        {"bh": "0" * 64},
        {"token_type": "JWT"},
        {"token_type": "dpop+jwt"},
        {"token_type": "graylag-access+jwt"},
        {"key": Ed25519PrivateKey.from_private_bytes(b"\2" * 32)},
        {"device": "p256"},
        {"device": "nobody"},
        {"device": "../../etc/passwd"},
    ],
)
def test_a_device_assertion_with_an_invalid_claim_is_refused(harness, changes):
    with pytest.raises(Unauthorized):
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
    with pytest.raises(Unauthorized):
        harness.send_token(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_a_decommissioned_device_is_refused_as_suspended(harness):
    with pytest.raises(DeviceSuspended):
        harness.send_token(device_assertion("gone"))


@pytest.mark.parametrize("write", [True, False])
def test_an_assertion_is_valid_for_one_request(harness, write):
    token = device_assertion()
    harness.send_token(token, write=write)
    with pytest.raises(Replayed):
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
    ("name", "value"),
    [
        ("x-graylag-device", "ed"),
        ("x-graylag-device", "nobody"),
        ("x-graylag-device", ""),
        ("x-graylag-device", "a" * 4000),
        ("x-graylag-timestamp", str(at(1))),
        ("x-graylag-timestamp", ""),
        ("x-graylag-timestamp", "1e9"),
        ("x-graylag-timestamp", "٣" * 10),
        ("x-graylag-timestamp", "9" * 400),
        ("x-graylag-nonce", "n" * 30),
        ("x-graylag-nonce", "short"),
        ("x-graylag-nonce", "n" * 65),
        ("x-graylag-nonce", "n" * 21 + "\n"),
        ("x-graylag-signature", "0" * 64),
        ("x-graylag-signature", ""),
        ("x-graylag-signature", "é" * 64),
    ],
)
def test_a_signed_request_with_one_header_changed_is_refused(harness, name, value):
    with pytest.raises(Unauthorized):
        harness.send(hmac_headers() | {name: value})
    assert harness.used.keys == set()


@pytest.mark.parametrize(
    "other", [EVENTS, RequestBinding("GET", POLL.path, POLL.body), RequestBinding("POST", POLL.path, b"{}")]
)
def test_a_signature_over_one_request_is_invalid_for_another(harness, other):
    with pytest.raises(Unauthorized):
        harness.send(hmac_headers(), other)


def test_a_nonce_is_valid_once_and_writes_need_valkey(harness):
    headers = hmac_headers()
    harness.send(headers)
    with pytest.raises(Replayed):
        harness.send(headers)
    harness.used.down = True
    harness.send(headers)
    with pytest.raises(Unavailable):
        harness.send(hmac_headers(binding=EVENTS), EVENTS, write=True)


def test_a_device_without_a_secret_cannot_use_that_of_the_zero_salt(harness):
    forged = tokens.derive_device_secret(SERVER_SECRET, "ed", b"\0" * 16)
    with pytest.raises(Unauthorized):
        harness.send(hmac_headers("ed", secret=forged))
