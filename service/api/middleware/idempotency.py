"""`Idempotency-Key` on every POST of the admin API: the same request, sent again, is done once.

The answer is written down in the transaction of what it tells about, before that is committed: there is no
moment at which one is there without the other. Two at once end at the table's key; the second is told to ask again.
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

from service import database
from service.api.dependencies import Process, process
from service.api.schemas.devices import SharedSecretView
from service.api.schemas.platform import ExchangeView, SecretView
from service.api.schemas.webhooks import WebhookSecretView
from service.errors import Invalid, Unauthorized
from service.operations.platform import api_tokens, idempotency

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,128}\Z")
SHOWN_ONCE = (SecretView, SharedSecretView, ExchangeView, WebhookSecretView)
"""Answers that hold a secret, which is kept nowhere."""
_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "description": "For a request that may have to be sent again: the answer to the first one is kept for a day.",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POSTs may carry a key."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Say in the documentation that the header is taken."""
        if "POST" in (options.get("methods") or ()):
            options["openapi_extra"] = {"parameters": [_PARAMETER]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """The framework's handler, with a look at the key around it."""
        handle = super().get_route_handler()

        async def look_first(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None or request.method != "POST":
                return await handle(request)
            self._require_usable(key)
            return await _once(handle, request, key)

        return look_first

    def _require_usable(self, key: str) -> None:
        if not _KEY.match(key):
            raise Invalid("1 to 128 printable characters without blanks", field=HEADER)
        if self.response_model in SHOWN_ONCE:
            raise Invalid(
                "this answer holds a secret, which is kept nowhere: leave the key out", field=HEADER
            )


async def _once(handle: Handler, request: Request, key: str) -> Response:
    held = process(request)
    digest = await _digest(request)
    actor = await run_in_threadpool(_actor, held, request)
    if actor is None:
        return await handle(request)
    found = await run_in_threadpool(_find, held, key, actor, digest)
    if found is not None:
        again = (
            Response(status_code=found.status)
            if found.body is None
            else JSONResponse(found.body, found.status)
        )
        again.headers[REPLAYED] = "true"
        return again
    response = await handle(request)
    session = getattr(request.state, "transaction", None)
    if session is not None and 200 <= response.status_code < 300:
        answer = idempotency.StoredResponse(
            response.status_code, json.loads(bytes(response.body)) if response.body else None
        )
        await run_in_threadpool(
            idempotency.store_response, session, key, actor, digest, answer, now=held.clock()
        )
    return response


async def _digest(request: Request) -> str:
    said = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(said + await request.body()).hexdigest()


def _actor(held: Process, request: Request) -> str | None:
    """Whose key it is; None for a stranger, whom the handler will turn away."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    with database.read_only(held.engine) as session:
        try:
            return api_tokens.authenticate(session, secret.strip(), now=held.clock()).name
        except Unauthorized:
            return None


def _find(held: Process, key: str, actor: str, digest: str) -> idempotency.StoredResponse | None:
    with database.read_only(held.engine) as session:
        return idempotency.find(session, key, actor, digest)
