"""The checked-in schemas match the code and do not break the v1 baseline."""

import copy
import json

import jsonschema_rs
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from sdk_contract.schemas.compatibility import breaking_api_changes, breaking_schema_changes
from sdk_contract.schemas.generate import BODIES, DOCUMENTS, FOLDER, OPENAPI, generate, render
from sdk_contract.schemas.routes import ROUTES
from service.api import health, problems
from service.api.device.description import describe_raw_routes
from service.api.device.routes import RAW_HANDLERS, router

BASELINE = json.loads((FOLDER / "baseline" / "v1.json").read_text())
FILES = generate()


def direction(name):
    return "request" if "request" in name or name == "event.json" else "response"


def breaks(name, old, new):
    return (
        breaking_api_changes(old, new)
        if name == OPENAPI
        else breaking_schema_changes(old, new, direction(name))
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_checked_in_schema_is_up_to_date(name):
    assert (FOLDER / name).read_text() == render(FILES[name]), "run python -m sdk_contract.schemas.generate"


def test_the_folder_has_no_schema_that_is_not_generated():
    assert {path.name for path in FOLDER.glob("*.json")} == set(FILES)


@pytest.mark.parametrize("name", sorted(BASELINE))
def test_no_schema_breaks_the_v1_baseline(name):
    assert breaks(name, BASELINE[name], FILES[name]) == []


def test_the_baseline_has_every_body_document_and_route():
    assert {f"{name}.json" for name in (*BODIES, *DOCUMENTS)} <= set(BASELINE)
    assert {route.path for route in ROUTES} == set(BASELINE[OPENAPI]["paths"])


@pytest.mark.parametrize("name", sorted(set(FILES) - {OPENAPI}))
def test_every_schema_is_valid_json_schema(name):
    jsonschema_rs.meta.validate(FILES[name])


def test_the_schemas_accept_valid_bodies_and_reject_invalid_ones():
    poll = jsonschema_rs.validator_for(FILES["poll-request.json"])
    assert poll.is_valid({"device_id": "dev_12345", "current_version": "v1.2", "color": "blue"})
    assert not poll.is_valid({"current_version": "v1.2"})
    assert not poll.is_valid({"device_id": "dev_12345", "nonce": "short"})
    bundle = jsonschema_rs.validator_for(FILES["trust-bundle.json"])
    entry = {"keys": ["0123456789abcdef"], "threshold": 1}
    good = {"version": 1, "expires": "2027-01-01T00:00:00Z", "keys": {}, "roles": {"root": entry}}
    assert bundle.is_valid(good)
    assert not bundle.is_valid({**good, "color": "blue"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_the_server_serves_every_route_of_the_contract(route):
    if route.path in RAW_HANDLERS:
        assert route.method == "post"
        return
    served = {
        (method.lower(), entry.path): entry.status_code or 200
        for entry in [*router.routes, *health.router.routes]
        if isinstance(entry, APIRoute)
        for method in entry.methods or ()
    }
    assert served[route.method, route.path] == route.status


def test_the_openapi_description_of_the_server_matches_the_contract():
    app = FastAPI()
    problems.install(app)
    app.include_router(health.router)
    app.include_router(router)
    describe_raw_routes(app)
    assert breaking_api_changes(FILES[OPENAPI], app.openapi()) == []


def edited(name, edit):
    changed = copy.deepcopy(BASELINE[name])
    edit(changed)
    return breaks(name, BASELINE[name], changed)


def drop_reason(schema):
    del schema["properties"]["reason"]


def rename_path(schema):
    schema["paths"]["/v2/model/update"] = schema["paths"].pop("/v1/model/update")


def require_model(schema):
    schema["required"].append("model")


def lower_bound(schema):
    schema["properties"]["attributes"]["maxProperties"] = 8


def add_action(schema):
    schema["properties"]["action"]["enum"].append("reboot")


def make_nullable(schema):
    schema["properties"]["next_poll_s"] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def drop_nested_field(schema):
    del schema["components"]["schemas"]["DownloadOption"]["properties"]["descriptor"]


def require_credential(schema):
    schema["paths"]["/v1/trust"]["get"]["security"] = [{"accessToken": []}]


def add_to_document(schema):
    schema["properties"]["color"] = {"type": "string"}


@pytest.mark.parametrize(
    ("name", "edit", "where"),
    [
        ("poll-response.json", drop_reason, ".reason"),
        (OPENAPI, rename_path, "/v1/model/update"),
        ("poll-request.json", require_model, ".model"),
        ("poll-request.json", lower_bound, "maxProperties"),
        ("poll-response.json", add_action, "reboot"),
        ("poll-response.json", make_nullable, "null"),
        (OPENAPI, drop_nested_field, ".descriptor"),
        (OPENAPI, require_credential, "credential"),
        ("directive.json", add_to_document, ".color"),
    ],
)
def test_a_breaking_change_of_the_contract_is_found_and_located(name, edit, where):
    found = edited(name, edit)
    assert found
    assert any(where in line for line in found)


def grow_response(schema):
    schema["properties"]["hint"] = {"type": "string"}


def grow_request(schema):
    schema["properties"]["hint"] = {"type": "string"}


def more_reasons(schema):
    schema["properties"]["reason"]["anyOf"][0]["enum"].append("full_moon")


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("poll-response.json", grow_response),
        ("poll-request.json", grow_request),
        ("poll-response.json", more_reasons),
    ],
)
def test_optional_additions_to_v1_are_allowed(name, edit):
    assert edited(name, edit) == []
