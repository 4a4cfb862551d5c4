"""The device API as a table: method, path, bodies, statuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from sdk_contract.wire import (
    MAX_EVENTS,
    EnrollRequest,
    Event,
    EventsResponse,
    Health,
    ModelInfo,
    PollRequest,
    PollResponse,
    TokenRequest,
    TokenResponse,
    TrustResponse,
)

_PROBLEMS = {
    401: "The credential is missing or invalid. Get a new token once, then stop.",
    403: "The credential does not allow this request, or the device is suspended.",
    404: "Not found.",
    413: "The body is larger than 64 KiB.",
    422: "A value is invalid; `field` names it.",
    429: "Too many requests; see `Retry-After`.",
    503: "The server is overloaded, or a service that it depends on is unavailable; see `Retry-After`.",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes:
        operation_id: OpenAPI's `operationId`.
        batch: maximum length of the request's list; 0 if the request is a single body.
        status: status of a successful response.
        problems: error status -> description; the body is a `Problem`.
        parameters: query parameters in OpenAPI's form.
    """

    method: Literal["get", "post"]
    path: str
    operation_id: str
    summary: str
    response: type[BaseModel]
    request: type[BaseModel] | None = None
    batch: int = 0
    status: int = 200
    requires_token: bool = False
    problems: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[dict[str, Any], ...] = ()


def _problems(*statuses: int) -> dict[int, str]:
    return {status: _PROBLEMS[status] for status in statuses}


ROUTES: tuple[Route, ...] = (
    Route("get", "/health", "health", "Check that the server is running", Health),
    Route(
        "get",
        "/v1/model/info",
        "modelInfo",
        "Get the newest fully released version",
        ModelInfo,
        problems=_problems(404, 422, 429, 503),
        parameters=(
            {
                "name": "model",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "maxLength": 63},
            },
        ),
    ),
    Route(
        "post",
        "/v1/model/update",
        "poll",
        "Check for an update",
        PollResponse,
        PollRequest,
        requires_token=True,
        problems=_problems(401, 403, 404, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/model/events",
        "report",
        "Report events",
        EventsResponse,
        Event,
        batch=MAX_EVENTS,
        status=202,
        requires_token=True,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/device/enroll",
        "enroll",
        "Enroll a device",
        TokenResponse,
        EnrollRequest,
        status=201,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/device/token",
        "token",
        "Get an access token",
        TokenResponse,
        TokenRequest,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "get",
        "/v1/trust",
        "trust",
        "Get the trust bundles after a version",
        TrustResponse,
        problems=_problems(422, 429, 503),
        parameters=(
            {
                "name": "after",
                "in": "query",
                "required": False,
                "schema": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53, "default": 0},
            },
        ),
    ),
)
