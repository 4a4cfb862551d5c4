"""The device's door: polls and reports go straight to their handlers, past routing and injection.

Those two routes are nearly all of the traffic, and the framework's way to a handler costs more than what the
handlers do. The routes stay declared, with the same functions behind them, for the documentation and for other methods.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.dependencies import Process
from service.api.problems import Renderer, renderer_of
from service.serving.admission.load_monitor import LoadMonitor

Answered = tuple[int, bytes]
"""The status, and JSON."""
Shortcut = Callable[[Process, Scope, Receive], Awaitable[Answered]]
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
"""While draining: else a proxy would send its next request into a connection that is just being closed."""


class DeviceDoor:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, shortcuts: Mapping[str, Shortcut], pressure: LoadMonitor) -> None:
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
        self._pressure.count_request()
        await self._serve(scope, receive, send)

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
