"""Four ways to prove who a device is, and every way to pretend."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service import tokens
from service.errors import (
    DeviceSuspended,
    Replayed,
    TokenExpired,
    Unauthorized,
    Unavailable,
)
from service.serving.provider_keys import LIFETIME_S, REFETCH_S
from service.tokens import Binding
from tests.service.proofs import (
    ALL,
    ED,
    ED_PUBLIC,
    EVENTS,
    NOW,
    P256,
    POLL,
    RSA,
    SERVER_SECRET,
    Bench,
    at,
    device_token,
    jwk,
    mac_headers,
    provider_token,
)


@pytest.fixture
def bench():
    return Bench()


# --- which way ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "present"),
    [
        ("access", lambda b: b.bearer(b.auth.access_tokens.issue("d1", {}, NOW))),
        ("device_key", lambda b: b.bearer(device_token())),
        ("idp", lambda b: b.bearer(provider_token())),
        ("hmac", lambda b: b.ask(mac_headers())),
    ],
)
def test_a_way_is_open_where_it_is_switched_on_and_nowhere_else(mode, present):
    assert present(Bench(frozenset({mode}))).device_id
    with pytest.raises(Unauthorized, match=f"not {mode}"):
        present(Bench(ALL - {mode}))


@pytest.mark.parametrize(
    "header", [{}, {"authorization": ""}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}]
)
def test_without_a_credential_nobody_is_known(bench, header):
    with pytest.raises(Unauthorized):
        bench.ask(header)


@pytest.mark.parametrize("token", ["x", "a.b.c", "." * 9, "e30.e30.", "x" * 5000, "é.é.é", "[" * 4000])
def test_what_is_no_token_is_refused_by_name(bench, token):
    with pytest.raises(Unauthorized):
        bench.bearer(token)


def test_a_signature_header_is_never_overruled_by_a_token(bench):
    headers = mac_headers(secret=b"wrong" * 8) | {"authorization": f"Bearer {device_token()}"}
    with pytest.raises(Unauthorized):
        bench.ask(headers)


# --- the device's own key -------------------------------------------------------------------------


def test_a_device_signs_each_request_with_its_own_key(bench):
    assert bench.bearer(device_token()).device_id == "ed"


def test_a_key_of_p256_signs_with_es256(bench):
    claims = bench.bearer(device_token("p256", P256, "ES256"))
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
        {"kind": "JWT"},
        {"kind": "dpop+jwt"},
        {"kind": "graylag-access+jwt"},
        {"key": Ed25519PrivateKey.from_private_bytes(b"\2" * 32)},
        {"device": "p256"},
        {"device": "nobody"},
        {"device": "../../etc/passwd"},
    ],
)
def test_a_device_token_with_anything_wrong_is_refused(bench, changes):
    with pytest.raises(Unauthorized):
        bench.bearer(device_token(**changes))
    assert bench.memory.seen == {}


@pytest.mark.parametrize("changes", [{"iat": at(-400), "exp": at(-100)}, {"iat": at(100), "exp": at(200)}])
def test_a_device_whose_clock_is_wrong_is_told_the_time(bench, changes):
    with pytest.raises(TokenExpired) as refusal:
        bench.bearer(device_token(**changes))
    assert refusal.value.extra["server_time"] == at()


def test_a_token_for_one_body_is_not_good_for_another(bench):
    with pytest.raises(Unauthorized, match="another body"):
        bench.bearer(device_token(), Binding("POST", POLL.path, b'{"device_id":"ed" }'))


def test_hs256_with_the_public_key_as_its_secret_is_refused(bench):
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "graylag-device+jwt"}).encode())
    claims = device_token().split(".")[1]
    signed = f"{header.rstrip(b'=').decode()}.{claims}"
    mac = hmac.new(ED_PUBLIC, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthorized):
        bench.bearer(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_a_device_that_was_taken_out_of_service_is_told_so(bench):
    with pytest.raises(DeviceSuspended):
        bench.bearer(device_token("gone"))


@pytest.mark.parametrize("write", [True, False])
def test_a_token_is_good_for_one_request(bench, write):
    token = device_token()
    bench.bearer(token, write=write)
    with pytest.raises(Replayed):
        bench.bearer(token, write=write)


def test_two_devices_may_choose_the_same_jti(bench):
    bench.bearer(device_token(jti="j" * 22))
    bench.bearer(device_token("p256", P256, "ES256", jti="j" * 22))


def test_while_valkey_is_away_polls_are_answered_and_writes_are_not(bench):
    bench.memory.away = True
    token = device_token()
    bench.bearer(token)
    bench.bearer(token)
    with pytest.raises(Unavailable) as refusal:
        bench.bearer(device_token(binding=EVENTS), EVENTS, write=True)
    assert refusal.value.retry_after_s == 5


# --- the shared secret ----------------------------------------------------------------------------


def test_a_small_device_signs_with_a_shared_secret(bench):
    assert bench.ask(mac_headers()).device_id == "tiny"


def test_the_mac_is_the_one_that_the_contract_writes_down():
    secret = tokens.derived_secret(b"k" * 32, "tiny", b"s" * 16)
    mac = tokens.request_mac(secret, "tiny", "1", "n" * 22, Binding("POST", "/p", b""))
    empty = hashlib.sha256(b"").hexdigest()
    lines = f"graylag-hmac-v1\ntiny\nPOST\n/p\n1\n{'n' * 22}\n{empty}"
    assert mac == hmac.new(secret, lines.encode(), "sha256").hexdigest()
    assert secret != tokens.derived_secret(b"k" * 32, "tiny", b"t" * 16)
    assert secret != tokens.derived_secret(b"k" * 32, "tinz", b"s" * 16)


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_a_timestamp_outside_the_window_is_refused_with_the_time(bench, seconds):
    with pytest.raises(TokenExpired) as refusal:
        bench.ask(mac_headers(seconds=seconds))
    assert refusal.value.extra["server_time"] == at()


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_inside_the_window_is_good(bench, seconds):
    assert bench.ask(mac_headers(seconds=seconds)).device_id == "tiny"


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
def test_a_signed_request_with_one_header_changed_is_refused(bench, name, value):
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers() | {name: value})
    assert bench.memory.seen == {}


@pytest.mark.parametrize(
    "other", [EVENTS, Binding("GET", POLL.path, POLL.body), Binding("POST", POLL.path, b"{}")]
)
def test_a_signature_over_one_request_is_not_good_for_another(bench, other):
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers(), other)


def test_a_nonce_is_good_once_and_writes_wait_for_valkey(bench):
    headers = mac_headers()
    bench.ask(headers)
    with pytest.raises(Replayed):
        bench.ask(headers)
    bench.memory.away = True
    bench.ask(headers)
    with pytest.raises(Unavailable):
        bench.ask(mac_headers(binding=EVENTS), EVENTS, write=True)


def test_a_device_without_a_secret_cannot_use_the_one_of_salt_zero(bench):
    forged = tokens.derived_secret(SERVER_SECRET, "ed", b"\0" * 16)
    with pytest.raises(Unauthorized):
        bench.ask(mac_headers("ed", secret=forged))


# --- the app's own identity provider --------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (P256, "ES256", "p"), (ED, "EdDSA", "e")]
)
def test_a_token_of_the_apps_own_provider_is_good(bench, key, algorithm, kid):
    claims = bench.bearer(provider_token(key, algorithm, kid))
    assert (claims.device_id, claims.attributes) == ("phone-1", {"group": "staff"})


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "other-app"},
        {"aud": ["my-app", "other-app"]},
        {"exp": None},
        {"iat": None},
        {"exp": at(10**9)},
        {"exp": at(-10), "iat": at(-20)},
        {"device": None},
        {"device": 7},
        {"device": "../x"},
        {"device": "x" * 200},
        {"kid": "unknown"},
        {"kid": "../../etc/passwd"},
        {"kid": "p"},
        {"key": P256, "algorithm": "ES256"},
        {"key": b"s" * 32, "algorithm": "HS256"},
        {"kind": "graylag-access+jwt"},
        {"kind": "graylag-device+jwt"},
        {"kind": "graylag-other"},
    ],
)
def test_a_provider_token_with_anything_wrong_is_refused(bench, changes):
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(**changes))


def test_rs256_keys_are_not_good_for_other_algorithms_of_the_same_key(bench):
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(RSA, "PS256"))


def test_an_unknown_kid_fetches_once_in_ten_seconds_whoever_asks(bench):
    for number in range(50):
        with pytest.raises(Unauthorized):
            bench.bearer(provider_token(kid=f"invented-{number}"))
    assert bench.publisher.asked == 1
    bench.clock += REFETCH_S
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token(kid="invented"))
    assert bench.publisher.asked == 2


def test_a_new_key_of_the_provider_is_found_and_a_withdrawn_one_ends(bench):
    bench.bearer(provider_token())
    bench.publisher.keys = [jwk(P256, "p2")]
    bench.clock += REFETCH_S
    assert bench.bearer(provider_token(P256, "ES256", "p2")).device_id == "phone-1"
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token())


def test_keys_are_fetched_anew_after_their_life_and_kept_while_the_provider_is_away(bench):
    bench.bearer(provider_token())
    bench.clock += LIFETIME_S + 1
    bench.publisher.away = True
    assert bench.bearer(provider_token()).device_id == "phone-1"
    assert bench.publisher.asked == 2
    bench.publisher.away, bench.publisher.keys = False, []
    bench.clock += REFETCH_S
    with pytest.raises(Unauthorized):
        bench.bearer(provider_token())


@pytest.mark.parametrize(
    "key_set",
    [b"", b"[]", b'{"keys":7}', b'{"keys":[7]}', b"[" * 9999, b'{"keys":[{"kid":"r","kty":["RSA"]}]}'],
)
def test_a_key_set_that_is_none_is_refused_by_name(key_set):
    with pytest.raises(ValueError, match="JWK set"):
        tokens.provider_keys(key_set)


def test_keys_that_are_weak_private_or_for_something_else_are_left_aside():
    small = rsa.generate_private_key(65537, 1024)
    private = jwt.algorithms.OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "private"}
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}
    other_use, other_alg = jwk(RSA, "enc", use="enc"), jwk(RSA, "ps", alg="PS256")
    p384 = jwk(ec.derive_private_key(7, ec.SECP384R1()), "p384")
    odd = {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "odd"}
    listed = [jwk(small, "small"), private, symmetric, other_use, other_alg, p384, odd, jwk(RSA, "good")]
    assert set(tokens.provider_keys(json.dumps({"keys": listed}).encode())) == {"good"}


@pytest.mark.parametrize("enrol", [True, False])
def test_a_stranger_with_a_good_token_is_let_in_only_where_that_is_switched_on(enrol):
    bench = Bench(enrol=enrol)
    bench.bearer(provider_token())
    assert ("phone-1" in bench.shelf.held) is enrol


def test_a_provider_does_not_bring_a_decommissioned_device_back(bench):
    with pytest.raises(DeviceSuspended):
        bench.bearer(provider_token(device="gone"))
