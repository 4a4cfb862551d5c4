"""Errors as RFC 9457 problem documents."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from sdk_contract.errors import as_clause
from sdk_contract.wire import Problem
from service.errors import Conflict, Invalid, ServiceError, Unavailable
from service.infrastructure.observability import log

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {
    "Retry-After": {"description": "Minimum number of seconds to wait.", "schema": {"type": "integer"}}
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "description": text,
        **({"headers": RETRY_AFTER} if status in {429, 503} else {}),
    }
    for status, text in {
        401: "The credential is missing or invalid.",
        403: "The credential does not allow this request.",
        404: "Not found.",
        409: "The request conflicts with the current state.",
        413: "The body is too large.",
        422: "A value is invalid; `field` names it.",
        429: "Too many requests; see `retry_after_s`.",
        503: "A service that the server depends on is unavailable; see `retry_after_s`.",
    }.items()
}


Renderer = Callable[[Request, Exception], Awaitable[JSONResponse]]


def install(app: FastAPI) -> None:
    """Register the error handlers, and describe `Problem` in the OpenAPI description, where `RESPONSES` refers to it."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        # As a `model` it would be described with the media type of plain JSON.
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI's documentation extends the description
    for kind, renderer in _RENDERERS.items():
        app.add_exception_handler(kind, renderer)
    app.add_exception_handler(Exception, _unexpected)


def find_renderer(error: Exception) -> Renderer | None:
    """Return the renderer of an exception; None for an unexpected one."""
    renderers = (_RENDERERS.get(kind) for kind in type(error).__mro__)
    return next((renderer for renderer in renderers if renderer is not None), None)


def render(error: ServiceError) -> JSONResponse:
    """Render an error as a problem document."""
    retryable = error.retry_after_s is not None
    body = Problem(
        type=f"/problems/{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        field=error.field,
        retryable=retryable,
        retry_after_s=error.retry_after_s,
    ).model_dump(exclude_none=True)
    headers = {"Retry-After": str(error.retry_after_s)} if retryable else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        {**error.extra, **body}, status_code=error.status, headers=headers, media_type=MEDIA_TYPE
    )


async def _service_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ServiceError):
        raise error
    return render(error)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError | ValidationError):
        raise error
    first = error.errors()[0]
    # FastAPI puts the location of the parameter first: body, query or path.
    skipped = 1 if isinstance(error, RequestValidationError) else 0
    path = [str(part) for part in first["loc"][skipped:]]
    is_unknown = first["type"] == "extra_forbidden"
    detail = as_clause(first["msg"])
    if is_unknown and path:
        detail = f"unknown field {path[-1]!r}; check its spelling"
    content_type = request.headers.get("Content-Type", "application/json")
    if not path and "json" not in content_type:
        detail = f"the body is {content_type}; send JSON with Content-Type: application/json"
    return render(Invalid(detail, field=".".join(path) or "body"))


async def _http_exception(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400:
        return render(Invalid("the body is not JSON in UTF-8; check its encoding", field="body"))
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    body = Problem(
        type=f"/problems/{code}", title=str(error.detail), status=error.status_code, code=code
    ).model_dump(exclude_none=True)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers, media_type=MEDIA_TYPE)


async def _database_unavailable(_request: Request, error: Exception) -> JSONResponse:
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    log("api").warning("database.unavailable", error=type(error).__name__, sqlstate=sqlstate)
    return render(Unavailable("the database does not answer; send the request again later", retry_after_s=5))


async def _not_storable(_request: Request, _error: Exception) -> JSONResponse:
    """PostgreSQL's `text` and `jsonb` do not accept every string and number of JSON."""
    return render(
        Invalid(
            "a text has NUL or half a surrogate pair, or a number is infinite; remove it, because it cannot be stored"
        )
    )


async def _concurrent_write(_request: Request, error: Exception) -> JSONResponse:
    """Two concurrent requests created the same object; a repeated request sees the first one's."""
    log("api").info("request.concurrent_write", error=type(error).__name__)
    return render(
        Conflict(
            "another request created the same object at this moment; send the request again", retry_after_s=1
        )
    )


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log("api").error("request.failed", path=request.url.path, exc_info=error)
    return render(ServiceError("an unexpected error occurred; the server's log has the details"))


_RENDERERS: dict[type[Exception], Renderer] = {
    ServiceError: _service_error,
    RequestValidationError: _validation_error,
    ValidationError: _validation_error,
    HTTPException: _http_exception,
    DataError: _not_storable,
    IntegrityError: _concurrent_write,
    OperationalError: _database_unavailable,
    InterfaceError: _database_unavailable,
    PoolTimeout: _database_unavailable,
}
