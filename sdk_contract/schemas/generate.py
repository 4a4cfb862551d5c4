"""Writes the schemas of the contract: `python -m sdk_contract.schemas.generate`.

Makes one JSON Schema (2020-12) for each body and document, and an OpenAPI 3.1 description of the device API. The files
are checked in, so SDK authors need no Python. A test compares them with the output of this module.
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
    EnrollRequest,
    Event,
    EventsResponse,
    Health,
    ModelInfo,
    PollRequest,
    PollResponse,
    Problem,
    TokenRequest,
    TokenResponse,
    TrustResponse,
)

FOLDER = Path(__file__).parent
DIALECT = GenerateJsonSchema.schema_dialect
OPENAPI = "openapi-device.json"
Schema = dict[str, Any]
RETRY_AFTER_HEADER: Schema = {
    "headers": {
        "Retry-After": {"description": "Minimum number of seconds to wait.", "schema": {"type": "integer"}}
    }
}

BODIES: Mapping[str, type[BaseModel]] = {
    "poll-request": PollRequest,
    "poll-response": PollResponse,
    "event": Event,
    "events-response": EventsResponse,
    "enroll-request": EnrollRequest,
    "token-request": TokenRequest,
    "token-response": TokenResponse,
    "trust-response": TrustResponse,
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
    "description": "DSSE 1.0.2: a payload, its type, and signatures over both. Verify it before you parse the payload.",
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
    """File name -> content of every generated file in this folder."""
    files = {f"{name}.json": _standalone(name, kind) for name, kind in {**BODIES, **DOCUMENTS}.items()}
    files["envelope.json"] = {"$schema": DIALECT, "$id": "urn:graylag:v1:envelope"} | _ENVELOPE
    files["events-request.json"] = _events_request(files["event.json"])
    files[OPENAPI] = openapi()
    return {name: _forbid_unmatched_names(content) for name, content in files.items()}


def openapi() -> Schema:
    """The OpenAPI description: the routes of `routes.py` with the bodies of `wire.py`."""
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
            "description": "The API for devices. /v1 only grows; both sides ignore unknown fields.",
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
    """Write all files into `folder`; return their names."""
    files = generate()
    for name, content in files.items():
        (folder / name).write_text(render(content), encoding="utf-8")
    return sorted(files)


def _forbid_unmatched_names(schema: Any) -> Any:
    """Forbid map keys that match no pattern, as Pydantic does without stating it in its schemas."""
    if isinstance(schema, list):
        return [_forbid_unmatched_names(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _forbid_unmatched_names(entry) for name, entry in schema.items()}
    return {"additionalProperties": False, **strict} if "patternProperties" in strict else strict


def _standalone(name: str, kind: type[Any]) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:graylag:v1:{name}"} | TypeAdapter(kind).json_schema()


def _events_request(event: Schema) -> Schema:
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
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": ["device"],
        "responses": {
            str(route.status): {"description": route.summary, "content": _json(_reference(route.response))},
            **{
                str(status): {
                    "description": text,
                    **problem,
                    **(RETRY_AFTER_HEADER if status in {429, 503} else {}),
                }
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
    if route.requires_token:
        operation["security"] = [{"accessToken": []}]
    return operation


def _reference(kind: type[BaseModel]) -> Schema:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


if __name__ == "__main__":
    write()
