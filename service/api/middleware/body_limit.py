"""How much of a request's body is read at most, whoever sends it: known before any handler, or credential, is asked.

The framework reads a JSON body whole before it looks at the credential, so without this a stranger
could fill the memory.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import render
from service.errors import TooLarge

MAX_BODY = 4 * 2**20
"""A declaration of a version of 64 variants of 64 files fits."""
MAX_LIST = 32 * 2**20
"""A cohort's list of 200,000 device ids fits."""
LISTS = ("/v1/admin/cohorts/", "/v1/admin/config")


class BodyLimit:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 413 in the handler's place once its body is too long."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_LIST if scope["path"].startswith(LISTS) else MAX_BODY
        metered = _Metered(receive, send, limit)
        if _declared(scope) <= limit:
            await self._app(scope, metered.receive, metered.send)
        if metered.started:
            return
        await render(TooLarge(f"at most {limit} bytes"))(scope, receive, send)


class _Metered:
    """Counts what comes in; behind the limit the handler sees a connection that has gone, and is not heard."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self.started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return message if self._left >= 0 else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._left < 0 and not self.started:
            return
        self.started = True
        await self._send(message)


def _declared(scope: Scope) -> int:
    """Content-Length, or 0 where it is absent or no number: then the count decides."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else 0
