"""Fast path of the device API: polls and event batches bypass routing and dependency injection.

Nearly all requests go to these two routes, and FastAPI needs more time to call a handler than the handlers themselves.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.dependencies import AppState
from service.api.problems import find_renderer
from service.serving.admission.load_monitor import LoadMonitor

RawResponse = tuple[int, bytes]
"""The status and the JSON body."""
RawHandler = Callable[[AppState, Scope, Receive], Awaitable[RawResponse]]
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
"""Sent while draining, because a proxy would send its next request into a connection that is about to close."""


class FastPathMiddleware:
    """Outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, handlers: Mapping[str, RawHandler], load_monitor: LoadMonitor) -> None:
        """Answer requests to the paths of `handlers` here; pass all others on to `app`.

        Args:
            app: the next ASGI application.
            handlers: path -> handler of its POST requests.
            load_monitor: counts the requests of this process.
        """
        self._app, self._handlers, self._load_monitor = app, handlers, load_monitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._load_monitor.count_request()
        handler = self._handlers.get(scope["path"])
        if handler is not None and scope["method"] != "POST":
            handler = _refuse_method
        if handler is None:
            await self._app(scope, receive, send)
            return
        await self._answer(handler, scope, receive, send)

    async def _answer(self, handler: RawHandler, scope: Scope, receive: Receive, send: Send) -> None:
        app_state = scope["app"].state
        try:
            status, body = await handler(app_state.process, scope, receive)
        except Exception as error:
            renderer = find_renderer(error)
            if renderer is None:
                raise
            response = await renderer(Request(scope, receive), error)
            if app_state.draining:
                response.raw_headers.append(_CLOSE)
            await response(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(body)), _JSON]
        if app_state.draining:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _refuse_method(_state: AppState, _scope: Scope, _receive: Receive) -> RawResponse:
    raise HTTPException(405, headers={"Allow": "POST"})
