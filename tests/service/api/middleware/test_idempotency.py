"""A POST request with an idempotency key is executed once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.support import actors
from tests.service.support.actors import cohort, ok, publish, refused, rollout, set_up_once, stage


@pytest.fixture
@set_up_once
def running_rollout(live):
    publish(live, "v1", b"weights of the keys")
    cohort(live)
    ok(actors.create_rollout(live, "r", "v1", *(stage("everyone", percent) for percent in (1, 2, 3, 100))))
    ok(actors.act(live, "r", "start"))


def post(live, path, body, key, scope="release-manager"):
    headers = {"Authorization": f"Bearer {live.tokens[scope]}", "Idempotency-Key": key}
    return live.client.post(f"/v1/admin{path}", json=body, headers=headers)


def promote(live, key, reason="all is well", scope="release-manager"):
    return post(live, "/rollouts/r/promote", {"reason": reason}, key, scope)


def test_a_repeated_request_is_executed_once_and_gets_the_same_response(running_rollout):
    first, again = promote(running_rollout, "k1"), promote(running_rollout, "k1")
    assert ok(first) == ok(again)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert rollout(running_rollout, "r")["stage"] == 1
    assert ok(promote(running_rollout, "k2"))["stage"] == 2


def test_a_key_belongs_to_one_request_of_one_caller(running_rollout):
    ok(promote(running_rollout, "k1"))
    refused(
        promote(running_rollout, "k1", "another reason"), 422, "idempotency_key_reused", "Idempotency-Key"
    )
    refused(post(running_rollout, "/rollouts/r/pause", {}, "k1"), 422, "idempotency_key_reused")
    assert ok(promote(running_rollout, "k1", scope="admin"))["stage"] == 2


def test_error_responses_are_not_stored_so_that_the_request_can_be_retried(running_rollout):
    ok(post(running_rollout, "/rollouts/r/pause", {}, "pause"))
    refused(promote(running_rollout, "k1"), 409, "wrong_state")
    ok(post(running_rollout, "/rollouts/r/resume", {}, "resume"))
    assert ok(promote(running_rollout, "k1"))["stage"] == 1


def test_a_key_does_not_replace_authorization(running_rollout):
    ok(promote(running_rollout, "k1"))
    refused(promote(running_rollout, "k1", scope="viewer"), 403, "forbidden")
    response = running_rollout.client.post(
        "/v1/admin/rollouts/r/promote", json={}, headers={"Idempotency-Key": "k1"}
    )
    refused(response, 401, "unauthorized")


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ü"])
def test_an_invalid_key_is_refused(live, key):
    headers = {"Authorization": f"Bearer {live.tokens['admin']}", "Idempotency-Key": key.encode()}
    response = live.client.post("/v1/admin/uploads", json={"sha256": "0" * 64}, headers=headers)
    refused(response, 422, "invalid", "Idempotency-Key")


def test_a_response_with_a_secret_is_not_stored(live):
    body = {"name": "ci", "scope": "publisher"}
    refused(post(live, "/tokens", body, "k1", "admin"), 422, "invalid", "Idempotency-Key")
    assert actors.rows(live, "select * from idempotency_keys") == []
    ok(live.call("POST", "/v1/admin/tokens", body))


def test_concurrent_requests_with_one_key_are_executed_once(running_rollout):
    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda _: promote(running_rollout, "k1"), range(6)))
    for response in responses:
        if response.is_error:
            refused(response, 409, "conflict")
    assert any(response.is_success for response in responses)
    assert rollout(running_rollout, "r")["stage"] == 1
    assert ok(promote(running_rollout, "k1"))["stage"] == 1


def test_stored_responses_are_deleted_after_a_day(running_rollout):
    ok(promote(running_rollout, "k1"))
    actors.write(running_rollout, "update idempotency_keys set created_at = now() - interval '25 hours'")
    running_rollout.run_scheduled_tasks()
    assert actors.rows(running_rollout, "select * from idempotency_keys") == []


def test_the_openapi_description_of_every_admin_post_has_the_header(live):
    paths = ok(live.client.get("/openapi.json"))["paths"]
    posts = [
        item["post"]
        for path, item in paths.items()
        if "/admin/" in path and "/oidc" not in path and "post" in item
    ]
    assert len(posts) > 10
    for post_ in posts:
        assert [p for p in post_.get("parameters", []) if p["name"] == "Idempotency-Key"], post_[
            "operationId"
        ]
