"""The device's door: polls and reports go straight to their handlers, past routing and injection.

Those two routes are nearly all of the traffic, and the framework's way to a handler costs more than what the
handlers do. The routes stay declared, with the same functions, for the documentation and for other methods.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import Renderer, renderer_of

Shortcut = Callable[[Request], Awaitable[Response]]


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
        request = Request(scope, receive)
        try:
            request.app.state.process.pressure.admit()
            response = await shortcut(request)
        except Exception as error:
            renderer: Renderer | None = renderer_of(error)
            if renderer is None:
                raise
            response = await renderer(request, error)
        if request.app.state.draining:
            # Else a proxy would send its next request into a connection that is just being closed.
            response.headers["connection"] = "close"
        await response(scope, receive, send)
