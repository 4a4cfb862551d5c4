"""A small HTTP client: bounded responses, verified TLS, no redirects, and one error class per kind of failure.

It uses the standard library only, because a port replaces this file with its platform's HTTP client.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sdk_contract.client.errors import (
    InsecureServer,
    RequestRejected,
    ServerBusy,
    TimedOut,
    TlsFailed,
    Unreachable,
    UrlExpired,
)
from sdk_contract.errors import Oversize

TIMEOUT_S = 30.0
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""Maximum size of an API response, bytes; a manifest with 64 descriptors and URLs fits."""
MAX_RETRY_AFTER_S = 86_400
MAX_TIME = 2**40
"""Server times above this are ignored, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A complete API response."""

    status: int
    body: bytes


@contextmanager
def request(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> Iterator[http.client.HTTPResponse]:
    """Send one request on a new connection, and yield the response with its body unread.

    Raises:
        Unreachable: the connection failed, also while the body is read inside the `with`.
        TlsFailed: the server's certificate is not valid.
        TimedOut: no byte arrived within `timeout` seconds.
    """
    host = ""
    try:
        parts = urlsplit(url)
        host = parts.netloc
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(_connection(parts.scheme, parts.hostname or "", parts.port, timeout)) as connection:
            with _deadline(connection, 2 * timeout):
                connection.request(
                    method,
                    target,
                    body,
                    {"Accept-Encoding": "identity", "Connection": "close", **(headers or {})},
                )
                response = connection.getresponse()
            with response:
                yield response
    except TimeoutError as error:
        raise TimedOut(f"{host} sent nothing for {timeout:g} s") from error
    except ssl.SSLError as error:
        raise TlsFailed(f"{host}: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The block uses sockets only, so an `OSError` here never comes from the disk.
        raise Unreachable(f"{host or url[:200]}: {type(error).__name__} {error}") from error


@contextmanager
def _deadline(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Abort after `seconds`, because headers that arrive byte by byte would pass every socket timeout."""

    def abort() -> None:
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, abort)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    raise ValueError(f"unsupported URL scheme {scheme!r}; use https")


def call_api(
    method: str, url: str, *, body: bytes | None = None, token: str | None = None, timeout: float = TIMEOUT_S
) -> ApiResponse:
    """Call the API, and read the complete response.

    Raises:
        ServerBusy: status 429 or 5xx, with the time to wait.
        RequestRejected: any other status from 300 on, with the problem's code.
        Oversize: the response is longer than `MAX_RESPONSE_BYTES`.
        Unreachable, TlsFailed, TimedOut: as `request`.
    """
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with request(method, url, body=body, headers=headers, timeout=timeout) as response:
        result = ApiResponse(response.status, _read_bounded(response))
        retry_after_s = parse_retry_after(response)
    if result.status == http.client.TOO_MANY_REQUESTS or result.status >= http.client.INTERNAL_SERVER_ERROR:
        raise ServerBusy(f"status {result.status} from {urlsplit(url).path}", retry_after_s)
    if result.status >= http.client.MULTIPLE_CHOICES:
        raise _rejection(result)
    return result


def raise_for_download_status(response: http.client.HTTPResponse) -> None:
    """Raise the error that belongs to the status of a download.

    Raises:
        UrlExpired: status 400, 401, 403, 404 or 410; object stores use any of them for an expired signature.
        ServerBusy: status 429 or 5xx.
        Unreachable: any other status without the object's content, including redirects.
    """
    status = response.status
    if status in (http.client.OK, http.client.PARTIAL_CONTENT, http.client.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    if status in (400, 401, 403, 404, 410):
        raise UrlExpired(f"status {status}")
    if status == http.client.TOO_MANY_REQUESTS or status >= http.client.INTERNAL_SERVER_ERROR:
        raise ServerBusy(f"status {status}", parse_retry_after(response))
    raise Unreachable(f"status {status}")


def parse_retry_after(response: http.client.HTTPResponse) -> int:
    """Seconds from the header `Retry-After`, at most one day; 0 if it is absent or a date."""
    text = (response.getheader("Retry-After") or "").strip()
    return min(int(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def require_secure_url(url: str, *, allow_http: bool) -> str:
    """Return the server's URL without a trailing slash, if access tokens may be sent to it.

    Raises:
        InsecureServer: the URL is plain http to another machine, and the operator did not allow that.
    """
    parts = urlsplit(url)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme == "https" or (parts.scheme == "http" and (local or allow_http)):
        return url.rstrip("/")
    raise InsecureServer(f"{url} is not secure; use https, or http to this machine only")


def _read_bounded(response: http.client.HTTPResponse) -> bytes:
    deadline = time.monotonic() + 2 * TIMEOUT_S
    data = bytearray()
    while piece := response.read1(64 * 1024):
        data += piece
        if len(data) > MAX_RESPONSE_BYTES:
            raise Oversize(f"the response is longer than {MAX_RESPONSE_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimedOut("the response arrives too slowly")
    return bytes(data)


def _rejection(response: ApiResponse) -> RequestRejected:
    try:
        problem: Any = json.loads(response.body[:65536])
        time_s = problem.get("server_time")
        time_s = time_s if type(time_s) is int and 0 < time_s < MAX_TIME else None
        return RequestRejected(
            response.status, str(problem["code"])[:64], str(problem.get("detail", ""))[:500], time_s
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return RequestRejected(response.status, "no_problem")
