"""CI jobs exchange the identity token of their platform for a temporary API token."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from redis.asyncio import Redis

from service.operations.platform import workload_identity
from service.serving.auth.provider_keys import ProviderKeys
from service.serving.auth.replay_cache import ReplayCache
from tests.service.serving.auth.test_credentials import service_with
from tests.service.support.actors import ok, refused, rewire, rows, write
from tests.service.support.device_requests import P256, RSA, KeyEndpoint, jwk

ISSUER, AUDIENCE = "https://ci.example", "graylag-production"


@pytest.fixture
def ci(live):
    """A service that accepts one repository of a CI platform, whose keys are in memory."""
    changes = {
        "ci_jwks_url": "https://ci.example/keys",
        "ci_issuer": ISSUER,
        "ci_audience": AUDIENCE,
        "ci_repository_ids": ["74"],
    }
    with service_with(live, **changes):
        provider = live.client.app.state.process.ci_provider
        object.__setattr__(provider, "keys", ProviderKeys(KeyEndpoint(jwk(RSA, "r"))))
        yield live


def identity(key=RSA, algorithm="RS256", kid="r", **changes):
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "repo:acme/models:ref:refs/heads/main",
        "repository": "acme/models",
        "repository_id": "74",
        "run_id": "9001",
        "jti": secrets.token_hex(16),
        "iat": now,
        "exp": now + 300,
    } | changes
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers={"kid": kid})


def exchange(live, token):
    return live.client.post("/v1/admin/oidc/exchange", json={"token": token})


def call_with(live, token, method="PUT", path="/v1/admin/models/m", body=None):
    return live.client.request(method, path, json=body or {}, headers={"Authorization": f"Bearer {token}"})


def test_a_job_of_a_configured_repository_gets_an_api_token_for_fifteen_minutes(ci):
    response = ok(exchange(ci, identity()))
    assert response["expires_in"] == 900
    ok(call_with(ci, response["token"]))
    expires = rows(ci, "select expires_at from api_tokens where name like 'ci:%'")[0]["expires_at"]
    assert timedelta(minutes=14) < expires - datetime.now(UTC) <= timedelta(minutes=15)


def test_the_api_token_only_permits_publishing(ci):
    token = ok(exchange(ci, identity()))["token"]
    refused(
        call_with(ci, token, "POST", "/v1/admin/tokens", {"name": "x", "scope": "admin"}), 403, "forbidden"
    )
    rollout = {"name": "r", "model": "m", "version": "v1", "stages": [{"cohort": "c", "percent": 1}]}
    refused(call_with(ci, token, "POST", "/v1/admin/rollouts", rollout), 403, "forbidden")


def test_an_expired_api_token_is_refused(ci):
    token = ok(exchange(ci, identity()))["token"]
    write(ci, "update api_tokens set expires_at = now() - interval '1 second' where name like 'ci:%'")
    refused(call_with(ci, token), 401, "unauthorized")


def test_an_identity_token_is_exchanged_once(ci):
    token = identity()
    ok(exchange(ci, token))
    refused(exchange(ci, token), 401, "replayed")


def test_repositories_are_identified_by_id_and_not_by_name(ci):
    refused(exchange(ci, identity(repository_id="75")), 403, "forbidden")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "graylag-staging"},
        {"aud": [AUDIENCE, "other"]},
        {"jti": None},
        {"exp": None},
        {"exp": int(time.time()) + 9 * 86400},
        {"iat": 1, "exp": 300},
        {"repository_id": None},
        {"kid": "unknown"},
        {"key": P256, "algorithm": "ES256"},
        {"key": b"s" * 32, "algorithm": "HS256"},
    ],
)
def test_an_invalid_identity_token_is_refused(ci, changes):
    response = exchange(ci, identity(**changes))
    assert (response.status_code, response.json()["code"]) in {(401, "unauthorized"), (401, "token_expired")}
    assert rows(ci, "select 1 from api_tokens where name like 'ci:%'") == []


def test_the_audit_log_contains_the_ci_run(ci):
    ok(exchange(ci, identity()))
    entry = rows(ci, "select actor, detail from audit_log where verb = 'api_token.exchange'")[0]
    assert entry["actor"] == "ci:74"
    assert entry["detail"] == {"repository": "acme/models", "run_id": "9001"}


def test_only_expired_ci_tokens_are_deleted(ci):
    ok(exchange(ci, identity()))
    write(ci, "update api_tokens set expires_at = now() - interval '2 days'")
    ok(exchange(ci, identity()))
    names = {row["name"] for row in rows(ci, "select name from api_tokens")}
    assert len([name for name in names if name.startswith("ci:")]) == 1
    assert "admin" in names


def test_without_the_replay_cache_the_exchange_is_unavailable(ci):
    unavailable = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    rewire(ci, replay_cache=ReplayCache(unavailable))
    refused(exchange(ci, identity()), 503, "unavailable")
    ci.client.portal.call(unavailable.aclose)


def test_without_a_configured_ci_platform_the_exchange_is_refused(live):
    refused(exchange(live, identity()), 409, "conflict")


def test_ci_tokens_have_the_lowest_scope_that_can_upload():
    assert workload_identity.SCOPE == "publisher"
