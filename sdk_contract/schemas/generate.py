"""Writes the schemas of the contract: `python -m sdk_contract.schemas.generate`.

One JSON Schema (2020-12) for each body and document, and one OpenAPI 3.1 description of the device API. They are
checked in, so that an SDK author needs no Python, and a test compares them with what this module makes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from sdk_contract.documents import Directive, Document, Manifest, PatchDescriptor, TrustBundle
from sdk_contract.envelope import MAX_SIGNATURES
from sdk_contract.schemas.routes import ROUTES, Route
from sdk_contract.wire import (
    MAX_EVENTS,
    EnrolRequest,
    Event,
    EventsAnswer,
    Health,
    ModelInfo,
    PollAnswer,
    PollRequest,
    Problem,
    TokenAnswer,
    TokenRequest,
    TrustAnswer,
)

FOLDER = Path(__file__).parent
DIALECT = GenerateJsonSchema.schema_dialect
OPENAPI = "openapi-device.json"
Schema = dict[str, Any]
RETRY: Schema = {
    "headers": {"Retry-After": {"description": "Seconds to wait at least.", "schema": {"type": "integer"}}}
}

BODIES: Mapping[str, type[BaseModel]] = {
    "poll-request": PollRequest,
    "poll-answer": PollAnswer,
    "event": Event,
    "events-answer": EventsAnswer,
    "enrol-request": EnrolRequest,
    "token-request": TokenRequest,
    "token-answer": TokenAnswer,
    "trust-answer": TrustAnswer,
    "model-info": ModelInfo,
    "health": Health,
    "problem": Problem,
}
DOCUMENTS: Mapping[str, type[Document]] = {
    "trust-bundle": TrustBundle,
    "manifest": Manifest,
    "patch-descriptor": PatchDescriptor,
    "directive": Directive,
}

_ENVELOPE: Schema = {
    "title": "Envelope",
    "description": "DSSE 1.0.2: bytes, their type, and who vouches for both. Verified before the payload is parsed.",
    "type": "object",
    "required": ["payloadType", "payload", "signatures"],
    "properties": {
        "payloadType": {"type": "string", "enum": sorted(kind.payload_type for kind in DOCUMENTS.values())},
        "payload": {"type": "string", "contentEncoding": "base64", "description": "Standard base64, padded."},
        "signatures": {
            "type": "array",
            "maxItems": MAX_SIGNATURES,
            "items": {
                "type": "object",
                "required": ["keyid", "sig"],
                "properties": {
                    "keyid": {"type": "string"},
                    "sig": {"type": "string", "contentEncoding": "base64"},
                },
            },
        },
    },
}


def generate() -> dict[str, Schema]:
    """File name -> content, for every file of this folder that is made."""
    files = {f"{name}.json": _alone(name, kind) for name, kind in {**BODIES, **DOCUMENTS}.items()}
    files["envelope.json"] = {"$schema": DIALECT, "$id": "urn:graylag:v1:envelope"} | _ENVELOPE
    files["events-request.json"] = _events(files["event.json"])
    files[OPENAPI] = openapi()
    return {name: _closed(content) for name, content in files.items()}


def openapi() -> Schema:
    """The device API: the routes of `routes.py` with the bodies of `wire.py`."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    _, definitions = models_json_schema(
        [(kind, "validation") for kind in BODIES.values()], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Graylag device API",
            "version": "1",
            "description": "What a device calls. /v1 only grows; unknown fields are ignored on both sides.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def render(content: Schema) -> str:
    """The text of a file."""
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write(folder: Path = FOLDER) -> list[str]:
    """Write all files; returns their names."""
    files = generate()
    for name, content in files.items():
        (folder / name).write_text(render(content), encoding="utf-8")
    return sorted(files)


def _closed(schema: Any) -> Any:
    """Maps refuse names that are none: Pydantic does, and does not say so in its schemas."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(entry) for name, entry in schema.items()}
    return {"additionalProperties": False, **closed} if "patternProperties" in closed else closed


def _alone(name: str, kind: type[Any]) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:graylag:v1:{name}"} | TypeAdapter(kind).json_schema()


def _events(event: Schema) -> Schema:
    entry = {key: value for key, value in event.items() if key not in ("$schema", "$id")}
    return {
        "$schema": DIALECT,
        "$id": "urn:graylag:v1:events-request",
        "title": "EventsRequest",
        "type": "array",
        "maxItems": MAX_EVENTS,
        "items": entry,
    }


def _operation(route: Route) -> Schema:
    problem = {"content": {"application/problem+json": {"schema": _reference(Problem)}}}
    operation: Schema = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": ["device"],
        "responses": {
            str(route.status): {"description": route.summary, "content": _json(_reference(route.answer))},
            **{
                str(status): {"description": text, **problem, **(RETRY if status in {429, 503} else {})}
                for status, text in route.problems.items()
            },
        },
    }
    if route.parameters:
        operation["parameters"] = list(route.parameters)
    if route.request is not None:
        schema = _reference(route.request)
        if route.batch:
            schema = {"type": "array", "maxItems": route.batch, "items": schema}
        operation["requestBody"] = {"required": True, "content": _json(schema)}
    if route.authorised:
        operation["security"] = [{"accessToken": []}]
    return operation


def _reference(kind: type[BaseModel]) -> Schema:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


if __name__ == "__main__":
    write()
