"""Tokens of the app's own identity provider, and its keys."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from service.errors import (
    DeviceSuspended,
    Unauthorized,
)
from service.infrastructure import tokens
from service.serving.auth.provider_keys import LIFETIME_S, REFETCH_S
from tests.service.support.device_requests import (
    ED,
    P256,
    RSA,
    AuthHarness,
    at,
    jwk,
    provider_token,
)


@pytest.fixture
def harness():
    return AuthHarness()


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (P256, "ES256", "p"), (ED, "EdDSA", "e")]
)
def test_a_token_of_the_apps_own_provider_is_accepted(harness, key, algorithm, kid):
    claims = harness.send_token(provider_token(key, algorithm, kid))
    assert (claims.device_id, claims.attributes) == ("phone-1", {"group": "staff"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iss": "https://evil.example"}, "the token's iss is not"),
        ({"aud": "other-app"}, "the token's aud is not my-app"),
        ({"aud": ["my-app", "other-app"]}, "the token's aud is not my-app"),
        ({"exp": None}, "the token must have the claims"),
        ({"iat": None}, "the token must have the claims"),
        ({"exp": at(10**9)}, "iat and exp must be integers"),
        ({"exp": at(-10), "iat": at(-20)}, "the token has expired"),
        ({"device": None}, "the token must have the claims"),
        ({"device": 7}, "the token's device must be a string"),
        ({"device": "../x"}, "the token's device is not a valid device id"),
        ({"device": "x" * 200}, "the token's device is not a valid device id"),
        ({"kid": "unknown"}, "is not published by the identity provider"),
        ({"kid": "../../etc/passwd"}, "is not published by the identity provider"),
        ({"kid": "p"}, "the token is invalid: InvalidAlgorithmError"),
        ({"key": P256, "algorithm": "ES256"}, "the token is invalid: InvalidAlgorithmError"),
        ({"key": b"s" * 32, "algorithm": "HS256"}, "the token is invalid: InvalidAlgorithmError"),
        ({"token_type": "graylag-access+jwt"}, "the token's signature is wrong"),
        ({"token_type": "graylag-device+jwt"}, "the token's sub must be a string"),
        ({"token_type": "graylag-other"}, "the token is a Graylag token, not one"),
    ],
)
def test_a_provider_token_with_an_invalid_claim_is_refused(harness, changes, message):
    with pytest.raises(Unauthorized, match=message):
        harness.send_token(provider_token(**changes))


def test_an_rs256_key_is_invalid_for_other_algorithms(harness):
    with pytest.raises(Unauthorized, match="unauthorized: the token is invalid: InvalidAlgorithmError"):
        harness.send_token(provider_token(RSA, "PS256"))


def test_unknown_key_ids_cause_one_fetch_in_ten_seconds(harness):
    for number in range(50):
        with pytest.raises(
            Unauthorized, match=r"unauthorized: the token's key \(`kid`\) is not published by the"
        ):
            harness.send_token(provider_token(kid=f"invented-{number}"))
    assert harness.endpoint.fetches == 1
    harness.clock += REFETCH_S
    with pytest.raises(
        Unauthorized, match=r"unauthorized: the token's key \(`kid`\) is not published by the"
    ):
        harness.send_token(provider_token(kid="invented"))
    assert harness.endpoint.fetches == 2


def test_a_new_provider_key_is_fetched_and_a_withdrawn_one_ends(harness):
    harness.send_token(provider_token())
    harness.endpoint.keys = [jwk(P256, "p2")]
    harness.clock += REFETCH_S
    assert harness.send_token(provider_token(P256, "ES256", "p2")).device_id == "phone-1"
    with pytest.raises(
        Unauthorized, match=r"unauthorized: the token's key \(`kid`\) is not published by the"
    ):
        harness.send_token(provider_token())


def test_keys_are_refreshed_after_an_hour_and_kept_while_the_provider_is_down(harness):
    harness.send_token(provider_token())
    harness.clock += LIFETIME_S + 1
    harness.endpoint.down = True
    assert harness.send_token(provider_token()).device_id == "phone-1"
    assert harness.endpoint.fetches == 2
    harness.endpoint.down, harness.endpoint.keys = False, []
    harness.clock += REFETCH_S
    with pytest.raises(
        Unauthorized, match=r"unauthorized: the token's key \(`kid`\) is not published by the"
    ):
        harness.send_token(provider_token())


@pytest.mark.parametrize(
    "key_set",
    [b"", b"[]", b'{"keys":7}', b'{"keys":[7]}', b"[" * 9999, b'{"keys":[{"kid":"r","kty":["RSA"]}]}'],
)
def test_an_invalid_key_set_is_refused(key_set):
    with pytest.raises(ValueError, match="JWK set"):
        tokens.parse_key_set(key_set)


def test_weak_private_and_unsuitable_keys_are_ignored():
    small = rsa.generate_private_key(65537, 1024)
    private = jwt.algorithms.OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "private"}
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}
    other_use, other_alg = jwk(RSA, "enc", use="enc"), jwk(RSA, "ps", alg="PS256")
    p384 = jwk(ec.derive_private_key(7, ec.SECP384R1()), "p384")
    odd = {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "odd"}
    listed = [jwk(small, "small"), private, symmetric, other_use, other_alg, p384, odd, jwk(RSA, "good")]
    assert set(tokens.parse_key_set(json.dumps({"keys": listed}).encode())) == {"good"}


@pytest.mark.parametrize("auto_enroll", [True, False])
def test_an_unknown_device_with_a_valid_token_is_enrolled_only_with_auto_enroll(auto_enroll):
    harness = AuthHarness(auto_enroll=auto_enroll)
    harness.send_token(provider_token())
    assert ("phone-1" in harness.credentials.stored) is auto_enroll


def test_a_provider_token_does_not_reactivate_a_decommissioned_device(harness):
    with pytest.raises(
        DeviceSuspended, match="device_suspended: this device was decommissioned; ask the operator of"
    ):
        harness.send_token(provider_token(device="gone"))
