"""Uploads: parts, presigned URLs, completion."""

import secrets
from urllib.parse import urlsplit, urlunsplit

from service.infrastructure.blobs import S3BlobStore
from tests.service.support import actors
from tests.service.support.actors import (
    MIB,
    component,
    declare,
    ok,
    refused,
    submit,
    upload_file,
    version_body,
)
from tests.workers.delta.layouts.writers import safetensors

WEIGHTS = safetensors({"w": ("I8", [4], b"abcd")})

OTHER = safetensors({"w": ("I8", [4], b"wxyz")})


def test_a_stored_file_is_not_uploaded_again(live):
    actors.publish(live, "v1", WEIGHTS)
    ok(declare(live, version_body("v2", component(WEIGHTS))))
    assert upload_file(live, WEIGHTS) == 0
    ok(submit(live, "v2"))
    live.run_jobs()
    assert actors.version(live, "v2")["state"] == "ready"


def test_an_upload_resumes_with_the_missing_parts(live):
    data = bytes(12 * MIB)
    ok(declare(live, version_body("v1", component(data))))
    first = actors.start_upload(live, data)
    assert (first["part_count"], first["missing_parts"]) == (3, [1, 2, 3])
    actors.send_parts(live, first, data, [1, 3])
    again = actors.start_upload(live, data)
    assert (again["upload_id"], again["missing_parts"]) == (first["upload_id"], [2])
    refused(actors.complete(live, again), 409, "upload_incomplete", "parts")
    actors.send_parts(live, again, data, [2])
    ok(actors.complete(live, again))
    ok(actors.complete(live, again))
    assert actors.start_upload(live, data)["stored"]


def test_a_part_with_the_wrong_size_counts_as_missing(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    actors.send_parts(live, upload, WEIGHTS + b"more", [1])
    assert refused(actors.complete(live, upload), 409, "upload_incomplete", "parts")["parts"] == [1]
    assert actors.start_upload(live, WEIGHTS)["missing_parts"] == [1]


def test_an_upload_that_only_the_object_store_has_completed_is_complete(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    actors.send_parts(live, upload, WEIGHTS, [1])
    ok(actors.complete(live, upload))
    actors.write(live, "update uploads set completed = false")
    assert actors.start_upload(live, WEIGHTS)["stored"]
    actors.write(live, "update uploads set completed = false")
    ok(actors.complete(live, upload))
    ok(submit(live, "v1"))


def test_only_declared_files_can_be_uploaded(live):
    body = {"sha256": actors.sha256(b"surprise")}
    refused(live.call("POST", "/v1/admin/uploads", body, "publisher"), 404, "not_found", "sha256")


def test_part_numbers_outside_the_upload_are_refused(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    path = f"/v1/admin/uploads/{upload['upload_id']}/parts"
    refused(live.call("POST", path, {"numbers": [2]}, "publisher"), 422, "invalid", "numbers")
    refused(live.call("POST", path, {"numbers": [0]}, "publisher"), 422, "invalid", "numbers.0")
    absent = f"/v1/admin/uploads/{'0' * 8}-0000-0000-0000-{'0' * 12}/parts"
    refused(live.call("POST", absent, {"numbers": [1]}, "publisher"), 404, "not_found", "upload_id")


def test_a_presigned_url_permits_only_its_own_part(live):
    """An uploader can neither write where devices download from, nor change a verified file."""
    fresh = safetensors({"w": ("I8", [16], secrets.token_bytes(16))})
    ok(declare(live, version_body("v1", component(fresh))))
    upload = actors.start_upload(live, fresh)
    path = f"/v1/admin/uploads/{upload['upload_id']}/parts"
    url = urlsplit(ok(live.call("POST", path, {"numbers": [1]}, "publisher"))["urls"]["1"])
    assert url.path.startswith(f"/{live.settings.s3_bucket}/uploads/")
    blob = f"/{live.settings.s3_bucket}/blobs/{actors.sha256(fresh)}"
    for forged in (
        url._replace(path=blob),
        url._replace(query=url.query.replace("partNumber=1", "partNumber=2")),
    ):
        assert live.store.put(urlunsplit(forged), content=fresh).status_code == 403
    assert live.store.put(urlunsplit(url._replace(path=blob, query="")), content=fresh).status_code == 403
    assert stored_size(live, actors.sha256(fresh)) is None
    upload_file(live, fresh)
    assert not live.store.put(urlunsplit(url), content=OTHER).is_success
    ok(submit(live, "v1"))
    live.run_jobs()
    assert stored_size(live, actors.sha256(fresh)) == len(fresh)


def test_an_unavailable_object_store_is_reported_as_retryable(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    unavailable = S3BlobStore(live.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    actors.rewire(live, blobs=unavailable)
    body = {"sha256": actors.sha256(WEIGHTS)}
    problem = refused(live.call("POST", "/v1/admin/uploads", body, "publisher"), 503, "store_unavailable")
    assert problem["retryable"]


def stored_size(live, digest):
    return actors.process(live).blobs.size(f"blobs/{digest}")
