"""CI comes with its platform's word and leaves with a token for a quarter of an hour of uploads."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from redis.asyncio import Redis

from service.operations.platform import workload_identity
from service.serving.auth.provider_keys import ProviderKeys
from tests.service.serving.auth.test_credentials import service_with
from tests.service.support.actors import ok, refused, rows, write
from tests.service.support.device_requests import P256, RSA, KeyEndpoint, jwk

ISSUER, AUDIENCE = "https://ci.example", "graylag-production"


@pytest.fixture
def ci(live):
    """A service that believes one repository of a CI platform, whose keys come from memory."""
    changes = {
        "ci_jwks_url": "https://ci.example/keys",
        "ci_issuer": ISSUER,
        "ci_audience": AUDIENCE,
        "ci_repository_ids": ["74"],
    }
    with service_with(live, **changes):
        provider = live.client.app.state.process.workloads
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
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


def exchange(live, token):
    return live.client.post("/v1/admin/oidc/exchange", json={"token": token})


def use(live, token, method="PUT", path="/v1/admin/models/m", body=None):
    return live.client.request(method, path, json=body or {}, headers={"Authorization": f"Bearer {token}"})


def test_a_job_of_a_known_repository_may_upload_for_a_quarter_of_an_hour(ci):
    answer = ok(exchange(ci, identity()))
    assert answer["expires_in"] == 900
    ok(use(ci, answer["token"]))
    expires = rows(ci, "select expires_at from api_tokens where name like 'ci:%'")[0]["expires_at"]
    assert timedelta(minutes=14) < expires - datetime.now(UTC) <= timedelta(minutes=15)


def test_it_may_upload_and_nothing_else(ci):
    token = ok(exchange(ci, identity()))["token"]
    refused(use(ci, token, "POST", "/v1/admin/tokens", {"name": "x", "scope": "admin"}), 403, "forbidden")
    rollout = {"name": "r", "model": "m", "version": "v1", "stages": [{"cohort": "c", "percent": 1}]}
    refused(use(ci, token, "POST", "/v1/admin/rollouts", rollout), 403, "forbidden")


def test_when_its_time_is_over_it_is_worth_nothing(ci):
    token = ok(exchange(ci, identity()))["token"]
    write(ci, "update api_tokens set expires_at = now() - interval '1 second' where name like 'ci:%'")
    refused(use(ci, token), 401, "unauthorized")


def test_an_identity_token_is_exchanged_once(ci):
    token = identity()
    ok(exchange(ci, token))
    refused(exchange(ci, token), 401, "replayed")


def test_another_repository_is_refused_whatever_its_name(ci):
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
def test_an_identity_token_with_anything_wrong_is_refused(ci, changes):
    answer = exchange(ci, identity(**changes))
    assert (answer.status_code, answer.json()["code"]) in {(401, "unauthorized"), (401, "token_expired")}
    assert rows(ci, "select 1 from api_tokens where name like 'ci:%'") == []


def test_the_audit_log_says_which_run_it_was(ci):
    ok(exchange(ci, identity()))
    entry = rows(ci, "select actor, detail from audit_log where verb = 'api_token.exchange'")[0]
    assert entry["actor"] == "ci:74"
    assert entry["detail"] == {"repository": "acme/models", "run_id": "9001"}


def test_useless_tokens_are_forgotten_and_people_s_tokens_are_not(ci):
    ok(exchange(ci, identity()))
    write(ci, "update api_tokens set expires_at = now() - interval '2 days'")
    ok(exchange(ci, identity()))
    names = {row["name"] for row in rows(ci, "select name from api_tokens")}
    assert len([name for name in names if name.startswith("ci:")]) == 1
    assert "admin" in names


def test_while_nobody_can_tell_a_replay_nothing_is_exchanged(ci):
    process = ci.client.app.state.process
    away = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    object.__setattr__(process, "redis", away)
    refused(exchange(ci, identity()), 503, "unavailable")
    ci.client.portal.call(away.aclose)


def test_where_no_provider_is_set_up_there_is_nothing_to_exchange(live):
    refused(exchange(live, identity()), 409, "conflict")


def test_the_scope_is_the_smallest_that_can_upload():
    assert workload_identity.SCOPE == "publisher"
