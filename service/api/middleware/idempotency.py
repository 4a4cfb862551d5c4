"""`Idempotency-Key` for POST requests of the admin API: a repeated request is executed once.

The response is stored in the transaction of the request, so that either both are committed or neither is. Of two
concurrent requests with one key, the second violates the primary key of the table and is answered with a retryable
conflict.
"""

import hashlib
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import AppState, app_state
from service.api.schemas.devices import SharedSecretView
from service.api.schemas.platform import CiTokenView, SecretView
from service.api.schemas.webhooks import WebhookSecretView
from service.errors import Invalid, Unauthorized
from service.infrastructure import database
from service.operations.platform import api_tokens, idempotency

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,128}\Z")
SECRET_VIEWS = (SecretView, SharedSecretView, CiTokenView, WebhookSecretView)
"""Responses that contain a secret, which must not be stored."""
_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "description": "Makes the request safe to repeat: the response to the first one is stored for a day.",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POST requests may have an idempotency key."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Document the header, if this is a POST route."""
        if "POST" in (options.get("methods") or ()):
            options["openapi_extra"] = {"parameters": [_PARAMETER]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler with the lookup of the key."""
        handle = super().get_route_handler()

        async def handle_idempotently(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None or request.method != "POST":
                return await handle(request)
            self._validate(key)
            return await _execute_once(handle, request, key)

        return handle_idempotently

    def _validate(self, key: str) -> None:
        if not _KEY.match(key):
            raise Invalid("the key must be 1 to 128 printable ASCII characters without spaces", field=HEADER)
        if self.response_model in SECRET_VIEWS:
            raise Invalid(
                "the response to this request contains a secret and cannot be stored; send the request without a key",
                field=HEADER,
            )


async def _execute_once(handle: Handler, request: Request, key: str) -> Response:
    state = app_state(request)
    digest = await _digest(request)
    actor = await run_in_threadpool(_authenticated_actor, state, request)
    if actor is None:
        return await handle(request)
    stored = await run_in_threadpool(_find, state, key, actor, digest)
    if stored is not None:
        return _replay(stored)
    response = await handle(request)
    session = getattr(request.state, "transaction", None)
    if session is not None and 200 <= response.status_code < 300:
        body = json.loads(bytes(response.body)) if response.body else None
        stored = idempotency.StoredResponse(response.status_code, body)
        await run_in_threadpool(
            idempotency.store_response, session, key, actor, digest, stored, now=state.clock()
        )
    return response


def _replay(stored: idempotency.StoredResponse) -> Response:
    headers = {REPLAYED_HEADER: "true"}
    if stored.body is None:
        return Response(status_code=stored.status, headers=headers)
    return JSONResponse(stored.body, stored.status, headers=headers)


async def _digest(request: Request) -> str:
    """The SHA-256 of the request: method, path, query and body."""
    target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(target + await request.body()).hexdigest()


def _authenticated_actor(state: AppState, request: Request) -> str | None:
    """The name of the caller, to whom the key belongs; None if the caller is unknown, so that the handler refuses."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    with database.read_only(state.engine) as session:
        try:
            return api_tokens.authenticate(session, secret.strip(), now=state.clock()).name
        except Unauthorized:
            return None


def _find(state: AppState, key: str, actor: str, digest: str) -> idempotency.StoredResponse | None:
    with database.read_only(state.engine) as session:
        return idempotency.find(session, key, actor, digest)
