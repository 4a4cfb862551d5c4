"""The device's door: polls and reports go straight to their handlers, past routing and injection.

Those two routes are nearly all of the traffic, and the framework's way to a handler costs more than what the
handlers do. The routes stay declared, with the same functions behind them, for the documentation and for other methods.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.dependencies import Process
from service.api.problems import Renderer, renderer_of

Answered = tuple[int, bytes]
"""The status, and JSON."""
Shortcut = Callable[[Process, Scope, Receive], Awaitable[Answered]]
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
"""While draining: else a proxy would send its next request into a connection that is just being closed."""


class DeviceDoor:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, shortcuts: Mapping[str, Shortcut]) -> None:
        """Answer POSTs to the paths of `shortcuts` here; pass everything else on to `app`."""
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, turn away, or pass on; a refusal is rendered as everywhere else."""
        shortcut = self._shortcuts.get(scope.get("path", ""))
        if shortcut is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        state = scope["app"].state
        try:
            held: Process = state.process
            held.pressure.admit()
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
