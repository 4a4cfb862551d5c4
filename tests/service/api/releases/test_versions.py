"""Versions: declaration, submission, and the signed manifest."""

import json
from typing import Any

import pytest

from sdk_contract.documents import Manifest, TrustBundle
from tests.service.support import actors
from tests.service.support.actors import (
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


def test_a_declared_uploaded_and_submitted_version_becomes_ready(live):
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


def test_the_manifest_is_valid_under_the_trust_bundle_and_lists_every_file(live):
    ready = actors.publish(live, "v1", WEIGHTS)
    envelope = ok(live.call("GET", "/v1/admin/models/m/versions/v1/manifest"))
    trust = TrustBundle.from_initial_envelope(live.trust)
    manifest = Manifest.from_envelope(json.dumps(envelope).encode(), trust.for_role("publisher"))
    assert (manifest.model, manifest.version, manifest.counter) == ("m", "v1", ready["counter"])
    assert [part.sha256 for part in manifest.variants[0].components] == [actors.sha256(WEIGHTS)]


def test_an_unsigned_version_has_no_manifest(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    refused(live.call("GET", "/v1/admin/models/m/versions/v1/manifest"), 409, "version_not_ready")


def test_repeating_a_declaration_changes_nothing(live):
    body = version_body("v1", component(WEIGHTS), notes="x")
    first = ok(declare(live, body))
    assert ok(declare(live, body)) == first
    actors.publish(live, "v1", WEIGHTS, notes="x")
    assert ok(declare(live, body))["state"] == "ready"
    assert ok(submit(live, "v1"))["state"] == "ready"


def test_a_label_cannot_be_reused_for_other_content(live):
    actors.publish(live, "v1", WEIGHTS)
    refused(declare(live, version_body("v1", component(OTHER))), 409, "version_exists", "label")
    refused(declare(live, version_body("v1", component(WEIGHTS), notes="x")), 409, "version_exists", "label")


def test_a_declaration_may_change_until_it_is_submitted(live):
    ok(declare(live, version_body("v1", component(WEIGHTS))))
    changed = ok(declare(live, version_body("v1", component(OTHER))))
    assert changed["pending"] == [actors.sha256(OTHER)]
    assert changed["counter"] == 1


INVALID_FILES: list[tuple[dict[str, Any], str]] = [
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


def test_an_invalid_file_is_refused_with_the_path_of_the_field(live):
    for change, field in INVALID_FILES:
        refused(declare(live, version_body("v1", component(WEIGHTS, **change))), 422, "invalid", field)
    assert ok(live.call("GET", "/v1/admin/models")) == []


INCONSISTENT_DECLARATIONS = [
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


def test_an_inconsistent_declaration_is_refused_with_the_path_of_the_field(live):
    for body, field in INCONSISTENT_DECLARATIONS:
        refused(declare(live, body), 422, "invalid", field)


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        ({"attr": "ram_mb", "over": 1}, "variants.0.selector"),
        ({"all": [{"attr": "ram_mb", "gte": "8"}]}, "variants.0.selector.all.0.gte"),
        ({"cohort": "internal"}, "variants.0.selector.cohort"),
    ],
)
def test_an_invalid_selector_is_refused_with_the_path_of_the_clause(live, selector, field):
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
def test_a_selector_that_a_manifest_cannot_contain_is_refused_at_declaration(live, selector):
    body = {"label": "v1", "variants": [{"components": [component(WEIGHTS)], "selector": selector}]}
    refused(declare(live, body), 422, "invalid", "variants")


def test_a_version_that_exceeds_the_size_of_a_manifest_is_refused_at_declaration(live):
    files = [component(b"%d" % n, f"part{n}", "f" * 100 + f"{n}") for n in range(64)]
    body = {"label": "v1", "variants": [{"name": f"n{n}", "components": files} for n in range(8)]}
    refused(declare(live, body), 422, "invalid", "variants")


def test_counters_must_rise_and_floors_must_be_earlier_versions(live):
    assert ok(declare(live, version_body("v1", component(WEIGHTS), counter=5)))["counter"] == 5
    lower = version_body("v2", component(OTHER), counter=5)
    refused(declare(live, lower), 409, "counter_not_rising", "counter")
    assert ok(declare(live, version_body("v2", component(OTHER), floor="v1")))["floor"] == 5
    unknown = version_body("v3", component(OTHER), floor="v9")
    refused(declare(live, unknown), 404, "not_found", "floor")


def test_a_floor_above_the_limit_of_devices_is_refused(live):
    ok(declare(live, version_body("v1", component(WEIGHTS), counter=2**31 + 1)))
    leap = version_body("v2", component(OTHER), floor="v1")
    refused(declare(live, leap), 409, "floor_too_high", "floor")


def test_a_version_with_missing_files_cannot_be_submitted(live):
    ok(declare(live, version_body("v1", component(WEIGHTS), component(OTHER, "vision"))))
    upload_file(live, WEIGHTS)
    problem = refused(submit(live, "v1"), 409, "upload_incomplete", "components")
    assert problem["components"] == ["vision"]
    assert actors.version(live, "v1")["state"] == "uploading"


def test_unknown_models_and_versions_are_refused(live):
    refused(live.call("GET", "/v1/admin/models/m/versions"), 404, "unknown_model", "model")
    ok(live.call("PUT", "/v1/admin/models/m", {"description": "lines"}, "publisher"))
    refused(live.call("GET", "/v1/admin/models/m/versions/v1"), 404, "not_found", "version")
    refused(submit(live, "v1"), 404, "not_found", "version")
    assert ok(live.call("GET", "/v1/admin/models/m/versions")) == []
    assert [model["name"] for model in ok(live.call("GET", "/v1/admin/models"))] == ["m"]


def test_text_that_the_database_cannot_store_is_refused(live):
    refused(live.call("PUT", "/v1/admin/models/m", {"description": "a\u0000b"}), 422, "invalid")
    refused(declare(live, version_body("v1", component(WEIGHTS), notes="\u0000")), 422, "invalid")


def test_versions_are_listed_newest_first(live):
    for label, data in (("v1", WEIGHTS), ("v2", OTHER)):
        ok(declare(live, version_body(label, component(data))))
    assert [v["label"] for v in ok(live.call("GET", "/v1/admin/models/m/versions"))] == ["v2", "v1"]
