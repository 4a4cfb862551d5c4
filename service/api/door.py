"""The device's door: polls and reports go straight to their handlers, past routing and injection.

Those two routes are nearly all of the traffic, and the framework's way to a handler costs more than what the
handlers do. The routes stay declared, with the same functions behind them, for the documentation and for other methods.
"""

import random
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.dependencies import Process
from service.api.problems import Renderer, render, renderer_of
from service.errors import ServiceError
from service.serving.pressure import Pressure, no_room

Answered = tuple[int, bytes]
"""The status, and JSON."""
Shortcut = Callable[[Process, Scope, Receive], Awaitable[Answered]]
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
"""While draining: else a proxy would send its next request into a connection that is just being closed."""


class DeviceDoor:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, shortcuts: Mapping[str, Shortcut], pressure: Pressure) -> None:
        """Answer POSTs to the paths of `shortcuts` here; pass everything else on to `app`.

        Args:
            app: the application behind.
            shortcuts: what answers those paths.
            pressure: of this process; is told how many requests are inside.
        """
        self._app, self._pressure = app, pressure
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on; a refusal is rendered as everywhere else."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._pressure.enter()
        try:
            await self._serve(scope, receive, send)
        finally:
            self._pressure.leave()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        shortcut = self._shortcuts.get(scope.get("path", ""))
        if shortcut is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        state = scope["app"].state
        try:
            held: Process = state.process
            status, body = await shortcut(held, scope, receive)
        except Exception as error:
            renderer: Renderer | None = renderer_of(error)
            if renderer is None:
                raise
            response = await renderer(Request(scope, receive), error)
            if state.draining:
                response.raw_headers.append(_CLOSE)
            await response(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(body)), _JSON]
        if state.draining:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """An application for requests for which there is no room: a quick no, each with another time to come back."""
    await render(no_room(random.random()))(scope, receive, send)  # noqa: S311 - timing, not a secret


def as_bytes(refusal: ServiceError) -> bytes:
    """A refusal as it goes over the wire, the last of its connection."""
    answer = render(refusal)
    headers = [*answer.raw_headers, _CLOSE]
    head = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"HTTP/1.1 %d Unavailable\r\n%b\r\n%b" % (answer.status_code, head, bytes(answer.body))
