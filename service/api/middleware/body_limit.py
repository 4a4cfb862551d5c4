"""The limit on the size of request bodies, enforced before authentication.

FastAPI reads a JSON body completely before it authenticates the caller. Without a limit, a caller without a credential
could exhaust the memory.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import render
from service.errors import TooLarge

MAX_BODY = 4 * 2**20
"""Large enough for the declaration of a version with 64 variants of 64 components."""
MAX_DEVICE_LIST_BODY = 32 * 2**20
"""Large enough for a cohort with a list of 200,000 device ids."""
DEVICE_LIST_PATHS = ("/v1/admin/cohorts/", "/v1/admin/config")
"""Prefixes of the paths whose bodies may contain lists of device ids."""


class BodyLimit:
    """ASGI middleware that refuses bodies above the limit."""

    def __init__(self, app: ASGIApp) -> None:
        """Limit the bodies of requests to `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 413 if its body exceeds the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_DEVICE_LIST_BODY if scope["path"].startswith(DEVICE_LIST_PATHS) else MAX_BODY
        connection = _LimitedConnection(receive, send, limit)
        if _content_length(scope) <= limit:
            await self._app(scope, connection.receive, connection.send)
        if connection.response_started:
            return
        await render(TooLarge(f"the body is longer than {limit} bytes; send less in one request"))(
            scope, receive, send
        )


class _LimitedConnection:
    """Counts the bytes of the body. Above the limit, it reports a disconnect to the handler and drops its response."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._remaining = limit
        self.response_started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._remaining -= len(message.get("body", b""))
        return message if self._remaining >= 0 else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._remaining < 0 and not self.response_started:
            return
        self.response_started = True
        await self._send(message)


def _content_length(scope: Scope) -> int:
    """The Content-Length, or 0 if it is absent or not a number; then only the received bytes count."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else 0
