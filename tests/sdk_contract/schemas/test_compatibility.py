"""Which changes of a schema break requests and responses."""

import pytest

from sdk_contract.schemas.compatibility import breaking_api_changes, breaking_schema_changes

STRING = {"type": "string"}
INTEGER = {"type": "integer"}


def record(*required, **fields):
    return {"type": "object", "properties": fields, "required": list(required)}


CASES = {
    # change: (old, new, breaks a request, breaks a response)
    "no change": (record(a=STRING), record(a=STRING), False, False),
    "a new optional field": (record(a=STRING), record(a=STRING, b=INTEGER), False, False),
    "a new required field": (record(a=STRING), record("b", a=STRING, b=INTEGER), True, False),
    "a removed field": (record(a=STRING, b=STRING), record(a=STRING), True, True),
    "another type": (record(a=STRING), record(a=INTEGER), True, True),
    "a wider type": (record(a=INTEGER), record(a={"type": "number"}), False, True),
    "a narrower type": (record(a={"type": "number"}), record(a=INTEGER), True, False),
    "optional becomes required": (record(a=STRING), record("a", a=STRING), True, False),
    "required becomes optional": (record("a", a=STRING), record(a=STRING), False, True),
    "a removed value": (record(a={"enum": ["x", "y"]}), record(a={"enum": ["x"]}), True, False),
    "a new value": (record(a={"enum": ["x"]}), record(a={"enum": ["x", "y"]}), False, True),
    "a new value of an open enumeration": (
        record(a={"anyOf": [{"enum": ["x"]}, STRING]}),
        record(a={"anyOf": [{"enum": ["x", "y"]}, STRING]}),
        False,
        False,
    ),
    "newly nullable": (
        record(a=STRING),
        record(a={"anyOf": [STRING, {"type": "null"}]}),
        False,
        True,
    ),
    "no longer nullable": (
        record(a={"anyOf": [STRING, {"type": "null"}]}),
        record(a=STRING),
        True,
        False,
    ),
    "a tighter bound": (
        record(a={**STRING, "maxLength": 9}),
        record(a={**STRING, "maxLength": 5}),
        True,
        False,
    ),
    "a wider bound": (record(a={**INTEGER, "minimum": 5}), record(a={**INTEGER, "minimum": 0}), False, True),
    "a new bound": (record(a=STRING), record(a={**STRING, "maxLength": 5}), True, False),
    "a removed bound": (record(a={**STRING, "maxLength": 5}), record(a=STRING), False, True),
    "another pattern": (
        record(a={**STRING, "pattern": "^a$"}),
        record(a={**STRING, "pattern": "^b$"}),
        True,
        True,
    ),
    "other items": (
        record(a={"type": "array", "items": STRING}),
        record(a={"type": "array", "items": INTEGER}),
        True,
        True,
    ),
    "a removed field of list items": (
        record(a={"type": "array", "items": record(b=STRING)}),
        record(a={"type": "array", "items": record()}),
        True,
        True,
    ),
    "unknown fields newly rejected": (record(), {**record(), "additionalProperties": False}, True, False),
    "a new field where unknown ones are rejected": (
        {**record(), "additionalProperties": False},
        {**record(a=STRING), "additionalProperties": False},
        False,
        True,
    ),
    "other values in a map": (
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "additionalProperties": INTEGER},
        True,
        True,
    ),
    "other names in a map": (
        {"type": "object", "patternProperties": {"^a": STRING}},
        {"type": "object", "patternProperties": {"^b": STRING}},
        True,
        True,
    ),
}


@pytest.mark.parametrize("change", CASES)
def test_a_request_breaks_if_the_new_schema_rejects_old_values(change):
    old, new, request, _ = CASES[change]
    assert bool(breaking_schema_changes(old, new, "request")) is request


@pytest.mark.parametrize("change", CASES)
def test_a_response_breaks_if_the_old_schema_rejects_new_values(change):
    old, new, _, response = CASES[change]
    assert bool(breaking_schema_changes(old, new, "response")) is response


def test_circular_references_are_resolved():
    tree = {"$defs": {"T": record(left={"$ref": "#/$defs/T"}, value=STRING)}, "$ref": "#/$defs/T"}
    other = {"$defs": {"T": record(left={"$ref": "#/$defs/T"}, value=INTEGER)}, "$ref": "#/$defs/T"}
    assert breaking_schema_changes(tree, tree, "response") == []
    assert any(".value" in line for line in breaking_schema_changes(tree, other, "response"))


def api(**operation):
    response = {"content": {"application/json": {"schema": record(a=STRING)}}}
    return {"paths": {"/x": {"get": {"responses": {"200": response}} | operation}}}


@pytest.mark.parametrize(
    "changed",
    [
        {"paths": {}},
        {"paths": {"/x": {"post": api()["paths"]["/x"]["get"]}}},
        api(security=[{"token": []}]),
        api(responses={"201": {}}),
        api(responses={"200": {"content": {"text/html": {"schema": {}}}}}),
        api(requestBody={"required": True, "content": {}}),
        api(parameters=[{"name": "q", "required": True, "schema": STRING}]),
    ],
)
def test_an_api_breaks_by_removals_and_new_requirements(changed):
    assert breaking_api_changes(api(), changed)


def test_an_api_may_add_paths_and_optional_parameters():
    grown = api(parameters=[{"name": "q", "required": False, "schema": STRING}])
    grown["paths"]["/y"] = {}
    assert breaking_api_changes(api(), grown) == []


def test_a_removed_query_parameter_is_a_breaking_change():
    asked = api(parameters=[{"name": "q", "required": False, "schema": STRING}])
    assert breaking_api_changes(asked, api())
