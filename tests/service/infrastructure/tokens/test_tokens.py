"""API tokens, access tokens and device assertions."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.errors import TokenExpired, Unauthorized
from service.infrastructure.clock import utc_now
from service.infrastructure.tokens import (
    ACCESS_JWT_TYPE,
    CLOCK_SKEW_S,
    DEVICE_ASSERTION_TYPE,
    MAX_ASSERTION_LIFETIME_S,
    MAX_TOKEN_CHARS,
    AccessTokens,
    new_secret,
    secret_hash,
    unverified_subject,
    verify_device_assertion,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SECRET = b"s" * 32
TOKENS = AccessTokens(SECRET, 3600)
KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC = KEY.public_key().public_bytes_raw()


def at(seconds):
    return int(NOW.timestamp()) + seconds


def access(*, key=SECRET, token_type=ACCESS_JWT_TYPE, algorithm="HS256", without=(), **claims):
    all_claims = {"sub": "dev_1", "aud": "graylag", "iat": at(0), "exp": at(3600)} | claims
    kept = {name: value for name, value in all_claims.items() if name not in without}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": token_type})


def assertion(*, key=KEY, token_type=DEVICE_ASSERTION_TYPE, without=(), **claims):
    all_claims = {
        "iss": "d",
        "sub": "d",
        "aud": "graylag",
        "iat": at(0),
        "exp": at(300),
        "jti": "j" * 16,
    } | claims
    kept = {name: value for name, value in all_claims.items() if name not in without}
    return jwt.encode(kept, key, algorithm="EdDSA", headers={"typ": token_type})


def unsigned(claims):
    head, body = ({"alg": "none", "typ": ACCESS_JWT_TYPE}, claims)
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)
    ]
    return ".".join([*parts, ""])


# --- API tokens -------------------------------------------------------------------------------


def test_a_secret_has_a_prefix_and_is_unique():
    secrets = {new_secret("glt") for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("glt_") and len(secret) > 40 for secret in secrets)


def test_a_secret_is_stored_as_a_hash():
    assert secret_hash("glt_x") == secret_hash("glt_x")
    assert "glt_x" not in secret_hash("glt_x")
    assert len(secret_hash("glt_x")) == 64


# --- access tokens --------------------------------------------------------------------------------


def test_an_access_token_contains_the_device_and_its_attributes():
    claims = TOKENS.verify(TOKENS.issue("dev_1", {"region": "cn-east"}, NOW), NOW)
    assert (claims.device_id, claims.attributes) == ("dev_1", {"region": "cn-east"})


def test_an_access_token_is_valid_until_its_last_second():
    token = TOKENS.issue("dev_1", {}, NOW)
    assert TOKENS.verify(token, NOW + 3599 * SECOND).device_id == "dev_1"
    with pytest.raises(TokenExpired, match="token_expired: the token has expired; get a new one"):
        TOKENS.verify(token, NOW + 3600 * SECOND)


def test_an_access_token_is_readable_by_any_jwt_library():
    token = TOKENS.issue("gerät", {"region": "cn-east"}, NOW, models=["assistant"])
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], audience="graylag", options={"verify_exp": False}
    )
    assert (claims["sub"], claims["attrs"], claims["models"]) == (
        "gerät",
        {"region": "cn-east"},
        ["assistant"],
    )
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": ACCESS_JWT_TYPE}


def test_the_refusal_of_an_expired_token_contains_the_server_time():
    with pytest.raises(TokenExpired) as error:
        TOKENS.verify(TOKENS.issue("dev_1", {}, NOW), NOW + 7200 * SECOND)
    assert error.value.extra["server_time"] == at(7200)


def test_a_token_from_more_than_a_minute_in_the_future_is_refused():
    assert TOKENS.verify(access(iat=at(CLOCK_SKEW_S), exp=at(100)), NOW)
    with pytest.raises(TokenExpired, match="token_expired: the token is not valid yet; set the clock by"):
        TOKENS.verify(access(iat=at(CLOCK_SKEW_S + 1), exp=at(100)), NOW)


@pytest.mark.parametrize("missing", ["sub", "aud", "iat", "exp"])
def test_every_claim_of_an_access_token_is_required(missing):
    with pytest.raises(Unauthorized, match=f"the token has no {missing}"):
        TOKENS.verify(access(without=[missing]), NOW)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (access(key=b"x" * 32), "the token's signature is wrong"),
        (access(token_type="JWT"), "the token's typ is not graylag-access"),
        (access(token_type=DEVICE_ASSERTION_TYPE), "the token's typ is not graylag-access"),
        (access(algorithm="HS512", key=b"s" * 64), "the token's signature is wrong"),
        (access(aud="another"), "the token's aud is not graylag"),
        (access(aud=["graylag"]), "the token's aud is not graylag"),
        (access(exp=at(3601)), "iat and exp must be integers"),
        (access(exp=at(0)), "iat and exp must be integers"),
        (access(exp=at(-10)), "iat and exp must be integers"),
        (access(sub=""), "the token's sub must be a string"),
        (access(sub="x" * 257), "the token's sub must be a string"),
        (access(exp=float(at(10))), "iat and exp must be integers"),
        (
            unsigned({"sub": "dev_1", "aud": "graylag", "iat": at(0), "exp": at(3600)}),
            "the token is not a JWT",
        ),
        (assertion(), "the token's signature is wrong"),
        ("", "the token is not a JWT"),
        ("a.b.c", "the token is not a JWT"),
        ("é", "the token is not a JWT"),
        ("x" * (MAX_TOKEN_CHARS + 1), "the token is longer than"),
    ],
)
def test_any_other_token_is_refused_as_an_access_token(token, message):
    with pytest.raises(Unauthorized, match=message):
        TOKENS.verify(token, NOW)


def test_an_invalid_token_is_not_reported_as_expired():
    with pytest.raises(Unauthorized) as error:
        TOKENS.verify(access(key=b"x" * 32, iat=at(-9000), exp=at(-8000)), NOW)
    assert not isinstance(error.value, TokenExpired)


def test_attributes_that_are_not_an_object_are_ignored():
    assert TOKENS.verify(access(attrs=["root"]), NOW).attributes == {}


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        AccessTokens(b"s" * 31, 3600)


def test_a_new_secret_invalidates_all_tokens():
    with pytest.raises(Unauthorized, match="unauthorized: the token's signature is wrong"):
        AccessTokens(b"t" * 32, 3600).verify(TOKENS.issue("dev_1", {}, NOW), NOW)


# --- device assertions ------------------------------------------------------------------------


def test_an_assertion_signed_with_the_enrolled_key_returns_its_jti():
    assert verify_device_assertion(assertion(jti="only-once-" * 2), PUBLIC, NOW) == "only-once-" * 2


def test_the_subject_is_readable_before_verification():
    assert unverified_subject(assertion(key=OTHER_KEY)) == "d"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "the token is not a JWT"),
        ("a.b.c", "the token is not a JWT"),
        ("x" * (MAX_TOKEN_CHARS + 1), "the token is longer than"),
        (assertion(without=["sub"]), "the token's sub must be a string"),
    ],
)
def test_an_assertion_without_a_subject_is_refused(token, message):
    with pytest.raises(Unauthorized, match=message):
        unverified_subject(token)


@pytest.mark.parametrize("missing", ["iss", "sub", "aud", "iat", "exp", "jti"])
def test_every_claim_of_an_assertion_is_required(missing):
    with pytest.raises(Unauthorized, match=f"the token has no {missing}"):
        verify_device_assertion(assertion(without=[missing]), PUBLIC, NOW)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (assertion(key=OTHER_KEY), "the token's signature is wrong"),
        (assertion(token_type="JWT"), "the token's typ is not graylag-device"),
        (assertion(token_type=ACCESS_JWT_TYPE), "the token's typ is not graylag-device"),
        (assertion(iss="another"), "iss and sub of a device assertion must both be the device id"),
        (assertion(aud="another"), "the token's aud is not graylag"),
        (assertion(exp=at(MAX_ASSERTION_LIFETIME_S + 1)), "iat and exp must be integers"),
        (assertion(jti="short"), "the assertion's jti must have at least 128 random bits"),
        (access(), "the token's signature is wrong"),
        ("", "the token is not a JWT"),
    ],
)
def test_any_other_token_is_refused_as_an_assertion(token, message):
    with pytest.raises(Unauthorized, match=message):
        verify_device_assertion(token, PUBLIC, NOW)


def test_a_public_key_is_never_used_as_a_shared_secret():
    forged = access(key=PUBLIC, token_type=DEVICE_ASSERTION_TYPE, iss="dev_1", jti="j" * 16, exp=at(300))
    with pytest.raises(Unauthorized, match="unauthorized: the token's signature is wrong"):
        verify_device_assertion(forged, PUBLIC, NOW)


def test_a_device_clock_may_be_a_minute_off():
    assert verify_device_assertion(
        assertion(), PUBLIC, NOW + (MAX_ASSERTION_LIFETIME_S + CLOCK_SKEW_S - 1) * SECOND
    )
    assert verify_device_assertion(assertion(), PUBLIC, NOW - CLOCK_SKEW_S * SECOND)
    for wrong in (
        NOW + (MAX_ASSERTION_LIFETIME_S + CLOCK_SKEW_S) * SECOND,
        NOW - (CLOCK_SKEW_S + 1) * SECOND,
    ):
        with pytest.raises(TokenExpired, match="token_expired: the token"):
            verify_device_assertion(assertion(), PUBLIC, wrong)


def test_the_clock_returns_utc():
    assert utc_now().utcoffset() == timedelta(0)
