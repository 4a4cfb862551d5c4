"""Refusals as RFC 9457 problems: one handler for ours, one for the framework's."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from sdk_contract.wire import Problem
from service.errors import Conflict, Invalid, ServiceError, Unavailable
from service.observability import log

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait at least.", "schema": {"type": "integer"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "description": text,
        **({"headers": RETRY_AFTER} if status in {429, 503} else {}),
    }
    for status, text in {
        401: "No credential, or one that is not good.",
        403: "The credential does not allow this.",
        404: "No such thing.",
        409: "Does not fit the present state.",
        413: "The body is too large.",
        422: "A value that makes no sense; `field` says which.",
        429: "Too often; see `retry_after_s`.",
        503: "Something that we depend on is away; see `retry_after_s`.",
    }.items()
}


Renderer = Callable[[Request, Exception], Awaitable[JSONResponse]]


def install(app: FastAPI) -> None:
    """Register the handlers; put the problem document into the API's own description, where `RESPONSES` refer to it."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        # Given as a `model`, it would be described as plain JSON, which is not what is sent.
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI's documentation extends the description
    for kind, renderer in _RENDERERS.items():
        app.add_exception_handler(kind, renderer)
    app.add_exception_handler(Exception, _unexpected)


def renderer_of(error: Exception) -> Renderer | None:
    """What renders an exception that we have a name for; None where nobody foresaw it."""
    found = (_RENDERERS.get(kind) for kind in type(error).__mro__)
    return next((renderer for renderer in found if renderer is not None), None)


def render(error: ServiceError) -> JSONResponse:
    """The problem document of a refusal."""
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
    fault = error.errors()[0]
    # The framework puts in front where it found the parameter: body, query or path.
    skipped = 1 if isinstance(error, RequestValidationError) else 0
    where = [str(part) for part in fault["loc"][skipped:]]
    unknown = fault["type"] == "extra_forbidden"
    said = f"there is no {where[-1]!r} here; is it misspelt?" if unknown and where else str(fault["msg"])
    sent_as = request.headers.get("Content-Type", "application/json")
    if not where and "json" not in sent_as:
        said = f"send it as Content-Type: application/json, not {sent_as}"
    return render(Invalid(said, field=".".join(where) or "body"))


async def _http_exception(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400:
        return render(Invalid("the body cannot be read as JSON in UTF-8", field="body"))
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    body = Problem(
        type=f"/problems/{code}", title=str(error.detail), status=error.status_code, code=code
    ).model_dump(exclude_none=True)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers, media_type=MEDIA_TYPE)


async def _database_away(_request: Request, error: Exception) -> JSONResponse:
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    log("api").warning("database.away", error=type(error).__name__, sqlstate=sqlstate)
    return render(Unavailable("the database does not answer", retry_after_s=5))


async def _unstorable(_request: Request, _error: Exception) -> JSONResponse:
    """JSON knows strings and numbers that PostgreSQL's text and jsonb do not."""
    return render(Invalid("a text or a number in it cannot be stored: NUL, half a character, infinity"))


async def _collision(_request: Request, error: Exception) -> JSONResponse:
    """Two requests made the same thing at the same moment: asked again, the second one sees the first."""
    log("api").info("request.collided", error=type(error).__name__)
    return render(Conflict("somebody did the same at this moment; ask again", retry_after_s=1))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log("api").error("request.failed", path=request.url.path, exc_info=error)
    return render(ServiceError("the failure is in the log"))


_RENDERERS: dict[type[Exception], Renderer] = {
    ServiceError: _service_error,
    RequestValidationError: _validation_error,
    ValidationError: _validation_error,
    HTTPException: _http_exception,
    DataError: _unstorable,
    IntegrityError: _collision,
    OperationalError: _database_away,
    InterfaceError: _database_away,
    PoolTimeout: _database_away,
}
