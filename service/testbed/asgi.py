"""Send requests to an ASGI application directly, without sockets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A POST request that is ready to send."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status and body of a response."""

    status: int
    body: bytes


async def send(app: App, request: PreparedRequest, client: str = "127.0.0.1") -> HttpResponse:
    """Send one request and return the response."""
    messages = [{"type": "http.request", "body": request.body, "more_body": False}]
    status = 0
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def collect(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(_scope(request, client), receive, collect)
    return HttpResponse(status, b"".join(parts))


def _scope(request: PreparedRequest, client: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(request.headers),
        "client": (client, 40000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
