import json
import secrets
from urllib.parse import urlsplit, urlunsplit

import pytest

from sdk_contract.documents import Manifest, TrustBundle
from service.blobs import S3BlobStore
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


def test_a_version_goes_from_declaration_to_ready_with_its_bytes_straight_to_the_store(live):
    declared = ok(declare(live, version_body("v1", component(WEIGHTS), notes="first")))
    assert (declared["state"], declared["counter"]) == ("uploading", 1)
    assert declared["pending"] == [actors.sha256(WEIGHTS)]
    upload_file(live, WEIGHTS)
    assert ok(submit(live, "v1"))["state"] == "ingesting"
    assert live.run_jobs() == [("ingest_version", "done"), ("sign_version", "done")]
    ready = actors.version(live, "v1")
    assert (ready["state"], ready["pending"], ready["notes"]) == ("ready", [], "first")
    part = ready["variants"][0]["components"][0]
    assert (part["stored"], part["format"]) == (True, "safetensors")
    assert part["contents"]["tensors"] == [{"name": "w", "dtype": "i8", "shape": [4], "size": 4}]


def test_the_manifest_verifies_with_the_trust_bundle_and_names_every_file(live):
    ready = actors.publish(live, "v1", WEIGHTS)
    envelope = ok(live.call("GET", "/v1/admin/models/m/versions/v1/manifest"))
    trust = TrustBundle.from_initial_envelope(live.trust)
    manifest = Manifest.from_envelope(json.dumps(envelope).encode(), trust.for_role("publisher"))
    assert (manifest.model, manifest.version, manifest.counter) == ("m", "v1", ready["counter"])
    assert [part.sha256 for part in manifest.variants[0].components] == [actors.sha256(WEIGHTS)]


def test_there_is_no_manifest_before_the_version_is_signed(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    refused(live.call("GET", "/v1/admin/models/m/versions/v1/manifest"), 409, "version_not_ready")


def test_the_same_bytes_are_not_sent_twice(live):
    actors.publish(live, "v1", WEIGHTS)
    ok(declare(live, version_body("v2", component(WEIGHTS))))
    assert upload_file(live, WEIGHTS) == 0
    ok(submit(live, "v2"))
    live.run_jobs()
    assert actors.version(live, "v2")["state"] == "ready"


def test_an_upload_goes_on_where_it_was(live):
    data = bytes(12 * MIB)
    ok(declare(live, version_body("v1", component(data))))
    first = actors.start_upload(live, data)
    assert (first["part_count"], first["parts"]) == (3, [1, 2, 3])
    actors.send_parts(live, first, data, [1, 3])
    again = actors.start_upload(live, data)
    assert (again["upload_id"], again["parts"]) == (first["upload_id"], [2])
    refused(actors.complete(live, again), 409, "upload_incomplete", "parts")
    actors.send_parts(live, again, data, [2])
    ok(actors.complete(live, again))
    ok(actors.complete(live, again))
    assert actors.start_upload(live, data)["stored"]


def test_a_part_of_the_wrong_length_has_to_be_sent_again(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    actors.send_parts(live, upload, WEIGHTS + b"more", [1])
    assert refused(actors.complete(live, upload), 409, "upload_incomplete", "parts")["parts"] == [1]
    assert actors.start_upload(live, WEIGHTS)["parts"] == [1]


def test_an_upload_whose_completion_was_not_written_down_is_found_complete(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    actors.send_parts(live, upload, WEIGHTS, [1])
    ok(actors.complete(live, upload))
    actors.write(live, "update uploads set completed = false")
    assert actors.start_upload(live, WEIGHTS)["stored"]
    actors.write(live, "update uploads set completed = false")
    ok(actors.complete(live, upload))
    ok(submit(live, "v1"))


def test_declaring_the_same_again_changes_nothing(live):
    body = version_body("v1", component(WEIGHTS), notes="x")
    first = ok(declare(live, body))
    assert ok(declare(live, body)) == first
    actors.publish(live, "v1", WEIGHTS, notes="x")
    assert ok(declare(live, body))["state"] == "ready"
    assert ok(submit(live, "v1"))["state"] == "ready"


def test_a_label_is_not_used_for_other_content(live):
    actors.publish(live, "v1", WEIGHTS)
    refused(declare(live, version_body("v1", component(OTHER))), 409, "version_exists", "label")
    refused(declare(live, version_body("v1", component(WEIGHTS), notes="x")), 409, "version_exists", "label")


def test_an_announcement_may_change_until_it_is_submitted(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    changed = ok(declare(live, version_body("v1", component(OTHER))))
    assert changed["pending"] == [actors.sha256(OTHER)]
    assert changed["counter"] == 1


SENSELESS_FILES = [
    ({"path": "../../etc/passwd"}, "variants.0.components.0.path"),
    ({"path": "a/b"}, "variants.0.components.0.path"),
    ({"path": ".."}, "variants.0.components.0.path"),
    ({"path": "a\u0000b"}, "variants.0.components.0.path"),
    ({"name": "../x"}, "variants.0.components.0.name"),
    ({"size": 0}, "variants.0.components.0.size"),
    ({"size": -1}, "variants.0.components.0.size"),
    ({"size": 2**40}, "variants.0.components.0.size"),
    ({"size": 2**39}, "variants.0.components.0.size"),
    ({"sha256": "0" * 63}, "variants.0.components.0.sha256"),
    ({"sha256": "A" * 64}, "variants.0.components.0.sha256"),
    ({"surprise": 1}, "variants.0.components.0.surprise"),
]


def test_a_file_that_makes_no_sense_is_refused_by_its_place(live):
    for change, field in SENSELESS_FILES:
        refused(declare(live, version_body("v1", component(WEIGHTS, **change))), 422, "invalid", field)
    assert ok(live.call("GET", "/v1/admin/models")) == []


CONTRADICTIONS = [
    (version_body("v1", component(WEIGHTS), component(OTHER, path="b")), "variants.0.components.1.name"),
    (
        version_body("v1", component(WEIGHTS), component(OTHER, "vision", "backbone.bin")),
        "variants.0.components.1.path",
    ),
    ({"label": "v1", "variants": [{"components": [component(WEIGHTS)]}] * 2}, "variants.1.name"),
    ({"label": "../v1", "variants": [{"components": [component(WEIGHTS)]}]}, "label"),
    ({"label": "v1", "variants": []}, "variants"),
    ({"label": "v1", "variants": [{"components": []}]}, "variants.0.components"),
]


def test_a_declaration_that_contradicts_itself_is_refused_by_its_place(live):
    for body, field in CONTRADICTIONS:
        refused(declare(live, body), 422, "invalid", field)


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        ({"attr": "ram_mb", "over": 1}, "variants.0.selector"),
        ({"all": [{"attr": "ram_mb", "gte": "8"}]}, "variants.0.selector.all.0.gte"),
        ({"cohort": "internal"}, "variants.0.selector.cohort"),
    ],
)
def test_a_selector_that_cannot_be_read_is_refused_by_its_place(live, selector, field):
    body = {"label": "v1", "variants": [{"components": [component(WEIGHTS)], "selector": selector}]}
    refused(declare(live, body), 422, "invalid_rule", field)


@pytest.mark.parametrize(
    "selector",
    [
        {"attr": "ram_gb", "gte": 7.5},
        {"attr": "ram_mb", "gte": 2**60},
        {"not": {"not": {"not": {"not": {"not": {"not": {"attr": "soc", "eq": "x"}}}}}}},
    ],
)
def test_a_selector_that_no_signed_document_can_hold_is_refused_before_anything_is_sent(live, selector):
    body = {"label": "v1", "variants": [{"components": [component(WEIGHTS)], "selector": selector}]}
    refused(declare(live, body), 422, "invalid", "variants")


def test_a_version_of_more_files_than_a_manifest_holds_is_refused_before_anything_is_sent(live):
    files = [component(b"%d" % n, f"part{n}", "f" * 100 + f"{n}") for n in range(64)]
    body = {"label": "v1", "variants": [{"name": f"n{n}", "components": files} for n in range(8)]}
    refused(declare(live, body), 422, "invalid", "variants")


def test_counters_rise_and_floors_point_down(live):
    assert ok(declare(live, version_body("v1", component(WEIGHTS), counter=5)))["counter"] == 5
    lower = version_body("v2", component(OTHER), counter=5)
    refused(declare(live, lower), 409, "counter_not_rising", "counter")
    assert ok(declare(live, version_body("v2", component(OTHER), floor="v1")))["floor"] == 5
    unknown = version_body("v3", component(OTHER), floor="v9")
    refused(declare(live, unknown), 404, "not_found", "floor")


def test_a_floor_that_devices_would_not_take_on_is_refused(live):
    ok(declare(live, version_body("v1", component(WEIGHTS), counter=2**31 + 1)))
    leap = version_body("v2", component(OTHER), floor="v1")
    refused(declare(live, leap), 409, "floor_too_high", "floor")


def test_nothing_is_uploaded_that_no_version_declares(live):
    body = {"sha256": actors.sha256(b"surprise")}
    refused(live.call("POST", "/v1/admin/uploads", body, "publisher"), 404, "not_found", "sha256")


def test_parts_outside_the_upload_have_no_url(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    upload = actors.start_upload(live, WEIGHTS)
    path = f"/v1/admin/uploads/{upload['upload_id']}/parts"
    refused(live.call("POST", path, {"numbers": [2]}, "publisher"), 422, "invalid", "numbers")
    refused(live.call("POST", path, {"numbers": [0]}, "publisher"), 422, "invalid", "numbers.0")
    absent = f"/v1/admin/uploads/{'0' * 8}-0000-0000-0000-{'0' * 12}/parts"
    refused(live.call("POST", absent, {"numbers": [1]}, "publisher"), 404, "not_found", "upload_id")


def test_a_version_is_not_submitted_before_its_bytes_are_there(live):
    ok(declare(live, version_body("v1", component(WEIGHTS), component(OTHER, "vision"))))
    upload_file(live, WEIGHTS)
    problem = refused(submit(live, "v1"), 409, "upload_incomplete", "components")
    assert problem["components"] == ["vision"]
    assert actors.version(live, "v1")["state"] == "uploading"


def test_an_upload_url_reaches_its_own_part_and_nothing_else(live):
    """Nobody who may upload can put bytes where devices download from, or change what was checked."""
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
    assert process_size(live, actors.sha256(fresh)) is None
    upload_file(live, fresh)
    assert not live.store.put(urlunsplit(url), content=OTHER).is_success
    ok(submit(live, "v1"))
    live.run_jobs()
    assert process_size(live, actors.sha256(fresh)) == len(fresh)


def test_models_and_versions_that_are_not_there_are_named(live):
    refused(live.call("GET", "/v1/admin/models/m/versions"), 404, "unknown_model", "model")
    ok(live.call("PUT", "/v1/admin/models/m", {"description": "lines"}, "publisher"))
    refused(live.call("GET", "/v1/admin/models/m/versions/v1"), 404, "not_found", "version")
    refused(submit(live, "v1"), 404, "not_found", "version")
    assert ok(live.call("GET", "/v1/admin/models/m/versions")) == []
    assert [model["name"] for model in ok(live.call("GET", "/v1/admin/models"))] == ["m"]


def test_text_that_cannot_be_stored_is_refused_and_not_a_failure(live):
    refused(live.call("PUT", "/v1/admin/models/m", {"description": "a\u0000b"}), 422, "invalid")
    refused(declare(live, version_body("v1", component(WEIGHTS), notes="\u0000")), 422, "invalid")


def test_a_version_list_is_newest_first(live):
    for label, data in (("v1", WEIGHTS), ("v2", OTHER)):
        ok(declare(live, version_body(label, component(data))))
    assert [v["label"] for v in ok(live.call("GET", "/v1/admin/models/m/versions"))] == ["v2", "v1"]


def test_a_store_that_is_away_is_told_as_such(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    away = S3BlobStore(live.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    actors.rewire(live, blobs=away)
    body = {"sha256": actors.sha256(WEIGHTS)}
    problem = refused(live.call("POST", "/v1/admin/uploads", body, "publisher"), 503, "store_unavailable")
    assert problem["retryable"]


def process_size(live, digest):
    return actors.process(live).blobs.size(f"blobs/{digest}")
