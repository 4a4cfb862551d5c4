"""The device API as a table: what may be called, with what, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from sdk_contract.wire import (
    MAX_EVENTS,
    EnrolRequest,
    Event,
    EventsAnswer,
    Health,
    ModelInfo,
    PollAnswer,
    PollRequest,
    TokenAnswer,
    TokenRequest,
    TrustAnswer,
)

_PROBLEMS = {
    401: "No credential, or one that is not good; get a fresh token once, then stop.",
    403: "The credential does not allow this, or the device is suspended.",
    404: "No such thing.",
    413: "The body is longer than 64 KiB.",
    422: "A value that makes no sense; `field` says which.",
    429: "Too often; see `Retry-After`.",
    503: "Something that the server depends on is away; see `Retry-After`.",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes:
        status: of success.
        batch: the request is a list of at most so many; 0 for a single body.
        problems: status -> what it means; the body is a `Problem`.
        parameters: of the query, as OpenAPI writes them.
    """

    method: Literal["get", "post"]
    path: str
    operation: str
    summary: str
    answer: type[BaseModel]
    request: type[BaseModel] | None = None
    batch: int = 0
    status: int = 200
    authorised: bool = False
    problems: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[dict[str, Any], ...] = ()


def _problems(*statuses: int) -> dict[int, str]:
    return {status: _PROBLEMS[status] for status in statuses}


ROUTES: tuple[Route, ...] = (
    Route("get", "/health", "health", "The process is alive", Health),
    Route(
        "get",
        "/v1/model/info",
        "modelInfo",
        "The newest fully released version",
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
        "May I have something new?",
        PollAnswer,
        PollRequest,
        authorised=True,
        problems=_problems(401, 403, 404, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/model/events",
        "report",
        "What became of it",
        EventsAnswer,
        Event,
        batch=MAX_EVENTS,
        status=202,
        authorised=True,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/device/enroll",
        "enrol",
        "Let a device in",
        TokenAnswer,
        EnrolRequest,
        status=201,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "post",
        "/v1/device/token",
        "token",
        "A fresh access token",
        TokenAnswer,
        TokenRequest,
        problems=_problems(401, 403, 413, 422, 429, 503),
    ),
    Route(
        "get",
        "/v1/trust",
        "trust",
        "Trust bundles that follow the one at hand",
        TrustAnswer,
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
