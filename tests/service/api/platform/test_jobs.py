"""Background jobs."""

from tests.service.support import actors
from tests.service.support.actors import ok, refused


def test_requeueing_a_dead_job_also_resumes_its_version(live):
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
