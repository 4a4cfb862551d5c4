"""How devices get access tokens, and which credentials are refused."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import redis.asyncio

from service.infrastructure.tokens import AccessTokens
from service.serving.auth.replay_cache import ReplayCache
from tests.service.support import actors
from tests.service.support.actors import Device, enroll, ok, refused


def assertion(device, **changes):
    """An assertion with changed claims; None removes a claim."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": device.id,
        "sub": device.id,
        "aud": "graylag",
        "iat": now,
        "exp": now + 200,
        "jti": "j" * 22,
    }
    header = {"typ": changes.pop("typ", "graylag-device+jwt"), "alg": "EdDSA"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    signed = f"{encode_part(header)}.{encode_part(claims)}"
    return f"{signed}.{unpadded(device.key.sign(signed.encode()))}"


def encode_part(value):
    return unpadded(json.dumps(value).encode())


def unpadded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_an_assertion_is_exchanged_for_a_new_access_token_once(live):
    device = enroll(live)
    proof = device.key.assertion("d1")
    fresh = ok(device.ask_token(proof))
    assert fresh["status"] == "accepted"
    device.token = fresh["access_token"]
    refused(device.ask_token(proof), 401, "replayed", "assertion")


def test_a_device_that_is_not_enrolled_gets_no_access_token(live):
    refused(Device(live).ask_token(), 401, "unauthorized")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"typ": "JWT"}, "unauthorized"),
        ({"typ": "graylag-access+jwt"}, "unauthorized"),
        ({"aud": "other"}, "unauthorized"),
        ({"aud": ["graylag", "other"]}, "unauthorized"),
        ({"iss": "d3"}, "unauthorized"),
        ({"exp": None}, "unauthorized"),
        ({"iat": None}, "unauthorized"),
        ({"jti": None}, "unauthorized"),
        ({"jti": "short"}, "unauthorized"),
        ({"exp": 2**33}, "unauthorized"),
        ({"exp": "soon"}, "unauthorized"),
        ({"iat": 1000, "exp": 1200}, "token_expired"),
        ({"iat": 2**33, "exp": 2**33 + 200}, "token_expired"),
    ],
)
def test_an_assertion_with_invalid_claims_is_refused(live, changes, code):
    refused(enroll(live).ask_token(assertion(Device(live), **changes)), 401, "unauthorized")
    device = enroll(live, "d2")
    refused(device.ask_token(assertion(device, **changes)), 401, code)


def test_an_assertion_with_another_key_or_algorithm_is_refused(live):
    device = enroll(live)
    other = Device(live, "d1")
    refused(device.ask_token(other.key.assertion("d1")), 401, "unauthorized")
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "d1", "sub": "d1", "aud": "graylag", "iat": now, "exp": now + 200, "jti": "j" * 22}
    public = base64.b64encode(device.key.public_key).decode()
    shared = jwt.encode(claims, public, algorithm="HS256", headers={"typ": "graylag-device+jwt"})
    refused(device.ask_token(shared), 401, "unauthorized")
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"typ": "graylag-device+jwt"})
    refused(device.ask_token(unsigned), 401, "unauthorized")


@pytest.mark.parametrize("malformed", ["x", "a.b.c", "....", f"{unpadded(b'[' * 2900)}.e30.e30"])
def test_malformed_tokens_are_refused_as_unauthorized(live, malformed):
    device = enroll(live)
    refused(device.ask_token(malformed), 401, "unauthorized")
    refused(device.ask_token(f"e30.{unpadded(b'[' * 2900)}.e30"), 401, "unauthorized")
    device.token = malformed
    refused(device.post("/v1/model/update", {"device_id": "d1"}), 401, "unauthorized")


def test_expired_foreign_and_missing_access_tokens_are_refused(live):
    device = enroll(live)
    body = {"device_id": "d1"}
    secret = live.settings.access_token_secret.get_secret_value().encode()
    issuer = AccessTokens(secret, live.settings.access_token_ttl_s)
    device.token = issuer.issue("d1", {}, datetime.now(UTC) - timedelta(hours=2))
    problem = refused(device.post("/v1/model/update", body), 401, "token_expired")
    assert abs(problem["server_time"] - datetime.now(UTC).timestamp()) < 60
    device.token = AccessTokens(b"x" * 32, 3600).issue("d1", {}, datetime.now(UTC))
    refused(device.post("/v1/model/update", body), 401, "unauthorized")
    device.token = device.key.assertion("d1")
    refused(device.post("/v1/model/update", body), 401, "unauthorized")
    response = live.client.post("/v1/model/update", json=body)
    refused(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_device_cannot_poll_for_another_device(live):
    device = enroll(live)
    refused(device.post("/v1/model/update", {"device_id": "d2"}), 403, "device_mismatch", "device_id")


def test_without_valkey_assertions_are_refused_and_polls_are_answered(live):
    """Without the replay cache, assertions could be replayed; the response to a poll is bound to its nonce anyway."""
    device = enroll(live)
    actors.publish(live, "v1", b"weights without valkey")
    unavailable = redis.asyncio.Redis.from_url("redis://127.0.0.1:1/0")
    actors.rewire(live, valkey=unavailable, replay_cache=ReplayCache(unavailable))
    assert refused(device.ask_token(), 503, "unavailable")["retry_after_s"] > 0
    assert device.poll()["reason"] == "no_rollout"
    ready = live.client.get("/ready")
    assert (ready.status_code, ready.json()["valkey"]) == (200, False)
    live.client.portal.call(unavailable.aclose)
