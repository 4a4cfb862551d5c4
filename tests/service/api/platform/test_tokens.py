"""API tokens: creation, expiry and revocation."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.service.support import actors
from tests.service.support.actors import ok, refused


@pytest.mark.parametrize("authorization", ["Bearer guess", "Basic YTpi", "Bearer", "x"])
def test_an_unknown_credential_is_refused(live, authorization):
    response = live.client.get("/v1/admin/models", headers={"Authorization": authorization})
    refused(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


def test_an_api_token_is_returned_once_and_is_invalid_after_revocation_or_expiry(live):
    created = ok(live.call("POST", "/v1/admin/tokens", {"name": "ci", "scope": "publisher"}))
    live.tokens["ci"] = created["token"]
    assert created["token"].startswith("gla_")
    assert created["token"] not in str(actors.rows(live, "select * from api_tokens"))
    ok(live.call("PUT", "/v1/admin/models/m", {}, "ci"))
    refused(
        live.call("POST", "/v1/admin/tokens", {"name": "ci", "scope": "admin"}), 409, "name_taken", "name"
    )
    ok(live.call("DELETE", "/v1/admin/tokens/ci"))
    refused(live.call("GET", "/v1/admin/models", scope="ci"), 401, "unauthorized")
    refused(live.call("DELETE", "/v1/admin/tokens/nobody"), 404, "not_found", "name")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    body = {"name": "old", "scope": "viewer", "expires_at": past}
    live.tokens["old"] = ok(live.call("POST", "/v1/admin/tokens", body))["token"]
    refused(live.call("GET", "/v1/admin/models", scope="old"), 401, "unauthorized")


@pytest.mark.parametrize(
    "expires_at", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "2030-01-01T00:00:00"]
)
def test_an_expiry_that_the_database_cannot_store_is_refused(live, expires_at):
    body = {"name": "odd", "scope": "viewer", "expires_at": expires_at}
    refused(live.call("POST", "/v1/admin/tokens", body), 422, "invalid", "expires_at")
    assert ok(live.call("POST", "/v1/admin/tokens", body | {"expires_at": None}))
