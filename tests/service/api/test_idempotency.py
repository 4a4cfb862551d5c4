from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.support import actors
from tests.service.support.actors import cohort, ok, publish, refused, rollout, set_up_once, stage


@pytest.fixture
@set_up_once
def running(live):
    publish(live, "v1", b"weights of the keys")
    cohort(live)
    ok(actors.create_rollout(live, "r", "v1", *(stage("everyone", percent) for percent in (1, 2, 3, 100))))
    ok(actors.act(live, "r", "start"))


def post(live, path, body, key, scope="release-manager"):
    headers = {"Authorization": f"Bearer {live.tokens[scope]}", "Idempotency-Key": key}
    return live.client.post(f"/v1/admin{path}", json=body, headers=headers)


def promote(live, key, reason="all is well", scope="release-manager"):
    return post(live, "/rollouts/r/promote", {"reason": reason}, key, scope)


def test_a_request_that_is_sent_again_is_done_once_and_answered_alike(running):
    first, again = promote(running, "k1"), promote(running, "k1")
    assert ok(first) == ok(again)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert rollout(running, "r")["stage"] == 1
    assert ok(promote(running, "k2"))["stage"] == 2


def test_a_key_belongs_to_one_request_of_one_person(running):
    ok(promote(running, "k1"))
    refused(promote(running, "k1", "another reason"), 422, "idempotency_key_reused", "Idempotency-Key")
    refused(post(running, "/rollouts/r/pause", {}, "k1"), 422, "idempotency_key_reused")
    assert ok(promote(running, "k1", scope="admin"))["stage"] == 2


def test_a_refusal_is_not_kept_so_that_the_same_request_may_succeed_later(running):
    ok(post(running, "/rollouts/r/pause", {}, "pause"))
    refused(promote(running, "k1"), 409, "wrong_state")
    ok(post(running, "/rollouts/r/resume", {}, "resume"))
    assert ok(promote(running, "k1"))["stage"] == 1


def test_a_key_opens_no_door(running):
    ok(promote(running, "k1"))
    refused(promote(running, "k1", scope="viewer"), 403, "forbidden")
    answer = running.client.post("/v1/admin/rollouts/r/promote", json={}, headers={"Idempotency-Key": "k1"})
    refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ü"])
def test_a_key_that_is_none_is_refused(live, key):
    headers = {"Authorization": f"Bearer {live.tokens['admin']}", "Idempotency-Key": key.encode()}
    answer = live.client.post("/v1/admin/uploads", json={"sha256": "0" * 64}, headers=headers)
    refused(answer, 422, "invalid", "Idempotency-Key")


def test_an_answer_that_holds_a_secret_is_not_kept(live):
    body = {"name": "ci", "scope": "publisher"}
    refused(post(live, "/tokens", body, "k1", "admin"), 422, "invalid", "Idempotency-Key")
    assert actors.rows(live, "select * from idempotency_keys") == []
    ok(live.call("POST", "/v1/admin/tokens", body))


def test_requests_at_the_same_moment_are_done_once(running):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: promote(running, "k1"), range(6)))
    for answer in found:
        if answer.is_error:
            refused(answer, 409, "conflict")
    assert any(answer.is_success for answer in found)
    assert rollout(running, "r")["stage"] == 1
    assert ok(promote(running, "k1"))["stage"] == 1


def test_answers_are_forgotten_after_a_day(running):
    ok(promote(running, "k1"))
    actors.write(running, "update idempotency_keys set created_at = now() - interval '25 hours'")
    running.run_ticks()
    assert actors.rows(running, "select * from idempotency_keys") == []


def test_the_header_stands_in_the_documentation_of_every_admin_post(live):
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
