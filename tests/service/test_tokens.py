import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.errors import TokenExpired, Unauthorized
from service.tokens import (
    ACCESS_TYPE,
    ASSERTION_SPAN_S,
    CLOCK_SKEW_S,
    DEVICE_TYPE,
    MAX_TOKEN,
    AccessTokens,
    new_secret,
    secret_hash,
    unverified_subject,
    utc_now,
    verify_assertion,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SECRET = b"s" * 32
TOKENS = AccessTokens(SECRET, 3600)
KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC = KEY.public_key().public_bytes_raw()


def at(seconds):
    return int(NOW.timestamp()) + seconds


def access(*, key=SECRET, kind=ACCESS_TYPE, algorithm="HS256", without=(), **claims):
    known = {"sub": "dev_1", "aud": "graylag", "iat": at(0), "exp": at(3600)} | claims
    kept = {name: value for name, value in known.items() if name not in without}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": kind})


def assertion(*, key=KEY, kind=DEVICE_TYPE, without=(), **claims):
    known = {"iss": "d", "sub": "d", "aud": "graylag", "iat": at(0), "exp": at(300), "jti": "j" * 16} | claims
    kept = {name: value for name, value in known.items() if name not in without}
    return jwt.encode(kept, key, algorithm="EdDSA", headers={"typ": kind})


def unsigned(claims):
    head, body = ({"alg": "none", "typ": ACCESS_TYPE}, claims)
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)
    ]
    return ".".join([*parts, ""])


# --- opaque secrets -------------------------------------------------------------------------------


def test_a_secret_says_what_it_is_and_is_never_the_same():
    made = {new_secret("glt") for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("glt_") and len(secret) > 40 for secret in made)


def test_a_secret_is_kept_as_a_digest():
    assert secret_hash("glt_x") == secret_hash("glt_x")
    assert "glt_x" not in secret_hash("glt_x")
    assert len(secret_hash("glt_x")) == 64


# --- access tokens --------------------------------------------------------------------------------


def test_a_token_names_its_device_and_carries_what_the_server_knows_of_it():
    claims = TOKENS.verify(TOKENS.issue("dev_1", {"region": "cn-east"}, NOW), NOW)
    assert (claims.device_id, claims.attributes) == ("dev_1", {"region": "cn-east"})


def test_a_token_is_good_until_its_last_second():
    token = TOKENS.issue("dev_1", {}, NOW)
    assert TOKENS.verify(token, NOW + 3599 * SECOND).device_id == "dev_1"
    with pytest.raises(TokenExpired):
        TOKENS.verify(token, NOW + 3600 * SECOND)


def test_a_token_of_ours_is_one_that_any_library_reads():
    token = TOKENS.issue("gerät", {"region": "cn-east"}, NOW, models=["assistant"])
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], audience="graylag", options={"verify_exp": False}
    )
    assert (claims["sub"], claims["attrs"], claims["models"]) == (
        "gerät",
        {"region": "cn-east"},
        ["assistant"],
    )
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": ACCESS_TYPE}


def test_an_expired_token_tells_a_device_with_a_wrong_clock_the_time():
    with pytest.raises(TokenExpired) as refusal:
        TOKENS.verify(TOKENS.issue("dev_1", {}, NOW), NOW + 7200 * SECOND)
    assert refusal.value.extra["server_time"] == at(7200)


def test_a_token_from_the_future_is_refused_beyond_a_minute():
    assert TOKENS.verify(access(iat=at(CLOCK_SKEW_S), exp=at(100)), NOW)
    with pytest.raises(TokenExpired):
        TOKENS.verify(access(iat=at(CLOCK_SKEW_S + 1), exp=at(100)), NOW)


@pytest.mark.parametrize("missing", ["sub", "aud", "iat", "exp"])
def test_every_claim_is_needed(missing):
    with pytest.raises(Unauthorized):
        TOKENS.verify(access(without=[missing]), NOW)


@pytest.mark.parametrize(
    "token",
    [
        access(key=b"x" * 32),
        access(kind="JWT"),
        access(kind=DEVICE_TYPE),
        access(algorithm="HS512", key=b"s" * 64),
        access(aud="another"),
        access(aud=["graylag"]),
        access(exp=at(3601)),
        access(exp=at(0)),
        access(exp=at(-10)),
        access(sub=""),
        access(sub="x" * 257),
        access(exp=float(at(10))),
        unsigned({"sub": "dev_1", "aud": "graylag", "iat": at(0), "exp": at(3600)}),
        assertion(),
        "",
        "a.b.c",
        "é",
        "x" * (MAX_TOKEN + 1),
    ],
)
def test_what_is_no_access_token_of_ours_is_refused(token):
    with pytest.raises(Unauthorized):
        TOKENS.verify(token, NOW)


def test_a_token_that_never_was_good_is_not_called_expired():
    with pytest.raises(Unauthorized) as refusal:
        TOKENS.verify(access(key=b"x" * 32, iat=at(-9000), exp=at(-8000)), NOW)
    assert not isinstance(refusal.value, TokenExpired)


def test_attributes_that_are_no_object_are_none():
    assert TOKENS.verify(access(attrs=["root"]), NOW).attributes == {}


def test_a_secret_that_could_be_guessed_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        AccessTokens(b"s" * 31, 3600)


def test_changing_the_secret_ends_all_tokens():
    with pytest.raises(Unauthorized):
        AccessTokens(b"t" * 32, 3600).verify(TOKENS.issue("dev_1", {}, NOW), NOW)


# --- device-key assertions ------------------------------------------------------------------------


def test_an_assertion_by_the_enrolled_key_gives_the_id_that_may_be_used_once():
    assert verify_assertion(assertion(jti="only-once-" * 2), PUBLIC, NOW) == "only-once-" * 2


def test_the_subject_is_read_before_the_key_is_known():
    assert unverified_subject(assertion(key=STRANGER)) == "d"


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * (MAX_TOKEN + 1), assertion(without=["sub"])])
def test_an_assertion_without_a_subject_is_refused(token):
    with pytest.raises(Unauthorized):
        unverified_subject(token)


@pytest.mark.parametrize("missing", ["iss", "sub", "aud", "iat", "exp", "jti"])
def test_every_claim_of_an_assertion_is_needed(missing):
    with pytest.raises(Unauthorized):
        verify_assertion(assertion(without=[missing]), PUBLIC, NOW)


@pytest.mark.parametrize(
    "token",
    [
        assertion(key=STRANGER),
        assertion(kind="JWT"),
        assertion(kind=ACCESS_TYPE),
        assertion(iss="another"),
        assertion(aud="another"),
        assertion(exp=at(ASSERTION_SPAN_S + 1)),
        assertion(jti="short"),
        access(),
        "",
    ],
)
def test_what_is_no_assertion_of_this_device_is_refused(token):
    with pytest.raises(Unauthorized):
        verify_assertion(token, PUBLIC, NOW)


def test_a_public_key_is_never_taken_for_a_shared_secret():
    forged = access(key=PUBLIC, kind=DEVICE_TYPE, iss="dev_1", jti="j" * 16, exp=at(300))
    with pytest.raises(Unauthorized):
        verify_assertion(forged, PUBLIC, NOW)


def test_a_device_clock_may_be_a_minute_off_either_way():
    assert verify_assertion(assertion(), PUBLIC, NOW + (ASSERTION_SPAN_S + CLOCK_SKEW_S - 1) * SECOND)
    assert verify_assertion(assertion(), PUBLIC, NOW - CLOCK_SKEW_S * SECOND)
    for wrong in (NOW + (ASSERTION_SPAN_S + CLOCK_SKEW_S) * SECOND, NOW - (CLOCK_SKEW_S + 1) * SECOND):
        with pytest.raises(TokenExpired):
            verify_assertion(assertion(), PUBLIC, wrong)


def test_the_time_has_its_zone():
    assert utc_now().utcoffset() == timedelta(0)
