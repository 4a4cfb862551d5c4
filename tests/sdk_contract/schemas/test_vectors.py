"""The schemas and the vectors agree about documents and bodies."""

import base64
import json

import jsonschema_rs
import pytest

from sdk_contract.schemas.generate import generate
from sdk_contract.vectors import load

FILES = generate()
SCHEMAS = {
    name: jsonschema_rs.validator_for(FILES[f"{name}.json"])
    for name in (
        "manifest",
        "directive",
        "trust-bundle",
        "patch-descriptor",
        "poll-response",
        "poll-request",
        "envelope",
    )
}
# A JSON Schema cannot check that a date exists, that names are unique, or how a number is written.
BEYOND_SCHEMAS = (
    "30-february",
    "13th-month",
    "same-variant",
    "two-counters",
    "two-versions",
    "float",
    "deep",
    "two-actions",
    "no-root",
    "missing-key",
)


def payload(envelope):
    return json.loads(base64.b64decode(envelope["payload"]))


def unpacked(case, member):
    return json.loads(base64.b64decode(case["inputs"][member]))


def documents(family):
    """(case, schema name, document) of each case."""
    for case in load(family):
        if family == "manifest":
            yield case, "manifest", payload(unpacked(case, "envelope"))
        elif family == "trust":
            yield case, "trust-bundle", payload(unpacked(case, "shipped"))
        elif family == "directive" and unpacked(case, "response")["directive"]:
            yield case, "directive", payload(unpacked(case, "response")["directive"])


@pytest.mark.parametrize("family", ["manifest", "trust", "directive"])
def test_a_schema_accepts_every_accepted_document_of_the_vectors(family):
    accepted = [entry for entry in documents(family) if entry[0]["expect"]["result"] == "accept"]
    assert len(accepted) >= 10
    for case, schema, document in accepted:
        assert SCHEMAS[schema].is_valid(document), case["id"]


@pytest.mark.parametrize("family", ["manifest", "trust", "directive"])
def test_a_schema_rejects_the_malformed_documents_that_it_can_describe(family):
    broken = [
        entry
        for entry in documents(family)
        if ".malformed-" in entry[0]["id"] and not any(word in entry[0]["id"] for word in BEYOND_SCHEMAS)
    ]
    assert len(broken) >= 8
    for case, schema, document in broken:
        assert not SCHEMAS[schema].is_valid(document), case["id"]


def test_the_requests_and_responses_of_the_vectors_match_their_schemas():
    good = [case for case in load("directive") if case["expect"]["result"] == "accept"]
    assert len(good) >= 10
    for case in good:
        response = unpacked(case, "response")
        assert SCHEMAS["poll-response"].is_valid(response), case["id"]
        assert SCHEMAS["poll-request"].is_valid(unpacked(case, "request")), case["id"]
        assert SCHEMAS["envelope"].is_valid(response["directive"]), case["id"]
        for download in response.get("downloads", ()):
            for option in download["options"]:
                if option.get("descriptor") and not case["expect"]["skipped"]:
                    assert SCHEMAS["patch-descriptor"].is_valid(payload(option["descriptor"])), case["id"]
