"""The checked-in schemas are what the code means, and never break what was promised."""

import copy
import json

import jsonschema_rs
import pytest
from fastapi import FastAPI

from sdk_contract.schemas.compatibility import breaking_api_changes, breaking_schema_changes
from sdk_contract.schemas.generate import BODIES, DOCUMENTS, FOLDER, OPENAPI, generate, render
from sdk_contract.schemas.routes import ROUTES
from service.api import health, problems
from service.api.device import routes

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
def test_a_checked_in_schema_is_what_the_generator_makes(name):
    assert (FOLDER / name).read_text() == render(FILES[name]), "run python -m sdk_contract.schemas.generate"


def test_no_schema_lies_around_that_nobody_makes():
    assert {path.name for path in FOLDER.glob("*.json")} == set(FILES)


@pytest.mark.parametrize("name", sorted(BASELINE))
def test_nothing_that_v1_promised_is_broken(name):
    assert breaks(name, BASELINE[name], FILES[name]) == []


def test_the_baseline_promises_every_body_document_and_route():
    assert {f"{name}.json" for name in (*BODIES, *DOCUMENTS)} <= set(BASELINE)
    assert {route.path for route in ROUTES} == set(BASELINE[OPENAPI]["paths"])


@pytest.mark.parametrize("name", sorted(set(FILES) - {OPENAPI}))
def test_every_schema_is_valid_json_schema(name):
    jsonschema_rs.meta.validate(FILES[name])


def test_the_schemas_accept_what_the_contract_speaks_and_refuse_what_it_does_not():
    poll = jsonschema_rs.validator_for(FILES["poll-request.json"])
    assert poll.is_valid({"device_id": "dev_12345", "current_version": "v1.2", "colour": "blue"})
    assert not poll.is_valid({"current_version": "v1.2"})
    assert not poll.is_valid({"device_id": "dev_12345", "nonce": "short"})
    bundle = jsonschema_rs.validator_for(FILES["trust-bundle.json"])
    entry = {"keys": ["0123456789abcdef"], "threshold": 1}
    good = {"version": 1, "expires": "2027-01-01T00:00:00Z", "keys": {}, "roles": {"root": entry}}
    assert bundle.is_valid(good)
    assert not bundle.is_valid({**good, "colour": "blue"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_the_server_has_every_route_of_the_contract(route):
    served = {
        (method.lower(), entry.path): entry.status_code or 200
        for entry in [*routes.router.routes, *health.router.routes]
        for method in entry.methods
    }
    assert served[route.method, route.path] == route.status


def test_the_server_takes_and_gives_what_the_contract_says():
    app = FastAPI()
    problems.install(app)
    app.include_router(health.router)
    app.include_router(routes.router)
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


def drop_action(schema):
    schema["properties"]["action"]["enum"].append("reboot")


def nullable(schema):
    schema["properties"]["next_poll_s"] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def nested(schema):
    del schema["components"]["schemas"]["DownloadOption"]["properties"]["descriptor"]


def guard(schema):
    schema["paths"]["/v1/trust"]["get"]["security"] = [{"accessToken": []}]


def extra_in_document(schema):
    schema["properties"]["colour"] = {"type": "string"}


@pytest.mark.parametrize(
    ("name", "edit", "where"),
    [
        ("poll-response.json", drop_reason, ".reason"),
        (OPENAPI, rename_path, "/v1/model/update"),
        ("poll-request.json", require_model, ".model"),
        ("poll-request.json", lower_bound, "maxProperties"),
        ("poll-response.json", drop_action, "reboot"),
        ("poll-response.json", nullable, "null"),
        (OPENAPI, nested, ".descriptor"),
        (OPENAPI, guard, "credential"),
        ("directive.json", extra_in_document, ".colour"),
    ],
)
def test_a_break_in_our_own_contract_is_found_and_named(name, edit, where):
    found = edited(name, edit)
    assert found
    assert any(where in line for line in found)


def grow_answer(schema):
    schema["properties"]["hint"] = {"type": "string"}


def grow_request(schema):
    schema["properties"]["hint"] = {"type": "string"}


def more_reasons(schema):
    schema["properties"]["reason"]["anyOf"][0]["enum"].append("full_moon")


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("poll-response.json", grow_answer),
        ("poll-request.json", grow_request),
        ("poll-response.json", more_reasons),
    ],
)
def test_v1_may_grow(name, edit):
    assert edited(name, edit) == []
