from datetime import UTC, datetime, timedelta

import pytest

from tests.service.support import actors
from tests.service.support.actors import ok, publish, refused


@pytest.mark.parametrize("text", ["Bearer guess", "Basic YTpi", "Bearer", "x"])
def test_a_credential_that_is_not_known_is_refused(live, text):
    answer = live.client.get("/v1/admin/models", headers={"Authorization": text})
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_api_token_is_shown_once_and_ends_when_it_is_revoked_or_expires(live):
    made = ok(live.call("POST", "/v1/admin/tokens", {"name": "ci", "scope": "publisher"}))
    live.tokens["ci"] = made["token"]
    assert made["token"].startswith("gla_")
    assert made["token"] not in str(actors.rows(live, "select * from api_tokens"))
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
    "moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "2030-01-01T00:00:00"]
)
def test_a_moment_that_the_database_would_not_give_back_is_refused(live, moment):
    body = {"name": "odd", "scope": "viewer", "expires_at": moment}
    refused(live.call("POST", "/v1/admin/tokens", body), 422, "invalid", "expires_at")
    assert ok(live.call("POST", "/v1/admin/tokens", body | {"expires_at": None}))


def test_the_audit_log_is_a_chain_that_shows_every_change(live):
    publish(live, "v1", b"audited")
    actors.roll_out(live, "r", "v1")
    entries = ok(live.call("GET", "/v1/admin/audit", scope="viewer"))
    verbs = [entry["verb"] for entry in entries]
    wanted = [
        "version.declare",
        "version.submit",
        "version.ready",
        "cohort.put",
        "rollout.create",
        "rollout.start",
    ]
    assert [verb for verb in verbs if verb in wanted] == wanted
    actor = {entry["verb"]: entry["actor"] for entry in entries}
    assert (actor["version.declare"], actor["version.ready"], actor["rollout.start"]) == (
        "publisher",
        "worker",
        "release-manager",
    )
    later = ok(live.call("GET", f"/v1/admin/audit?after={entries[-2]['id']}"))
    assert later == entries[-1:]


def test_a_dead_job_is_shown_and_given_another_round_with_what_hung_on_it(live):
    data = b"signed at the second try"
    ok(actors.declare(live, actors.version_body("v1", actors.component(data))))
    actors.upload_file(live, data)
    ok(actors.submit(live, "v1"))
    live.run_jobs(except_for="sign_version")
    actors.write(live, "update jobs set attempts = 2 where kind = 'sign_version'")
    keyless = live.settings.model_copy(update={"publisher_key": None})
    with live.worker_with(settings=keyless):
        assert live.run_jobs() == [("sign_version", "dead")]
    rejected = actors.version(live, "v1")
    assert (rejected["state"], rejected["problem"]["code"]) == ("rejected", "key_unusable")
    job = ok(live.call("GET", "/v1/admin/jobs?state=dead"))[0]
    assert (job["kind"], job["error"]["code"]) == ("sign_version", "key_unusable")
    again = f"/v1/admin/jobs/{job['id']}/requeue"
    assert ok(live.call("POST", again, scope="release-manager"))["state"] == "queued"
    assert actors.version(live, "v1")["state"] == "ingesting"
    assert live.run_jobs() == [("sign_version", "done")]
    assert actors.version(live, "v1")["state"] == "ready"
    refused(live.call("POST", again), 409, "wrong_state")
    refused(live.call("POST", f"/v1/admin/jobs/{'0' * 32}/requeue"), 404, "not_found")


def test_a_body_beyond_the_limit_is_not_read_whoever_sends_it(live):
    huge = b'{"description": "' + b"x" * (4 * 2**20) + b'"}'
    refused(live.client.put("/v1/admin/models/m", content=huge), 413, "too_large")
    refused(live.client.put("/v1/admin/models/m", content=iter([huge[:100], huge[100:]])), 413, "too_large")
    answer = live.client.put("/v1/admin/cohorts/c", content=huge)
    refused(answer, 401, "unauthorized")
    assert ok(live.client.get("/health"))


def test_what_is_not_there_is_a_problem_too(live):
    refused(live.client.get("/v1/nothing"), 404, "not_found")
    refused(live.client.delete("/health"), 405, "method_not_allowed")


def test_a_body_that_is_no_json_is_refused_by_its_name(live):
    headers = {"Authorization": f"Bearer {live.tokens['admin']}"}
    for raw in (b"\xff", b"[" * 100_000, b"9" * 5000, b"{", b""):
        refused(live.client.put("/v1/admin/models/m", content=raw, headers=headers), 422, "invalid")
