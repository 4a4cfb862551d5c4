"""HTTP as the client needs it: bounded, verified TLS, no redirects, one named error for each fault.

Only the standard library, on purpose: this file is what a port replaces by its platform's client.
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
    Refused,
    ServerBusy,
    TimedOut,
    TlsFailed,
    Unreachable,
    UrlExpired,
)
from sdk_contract.errors import Oversize

TIMEOUT_S = 30.0
MAX_ANSWER = 4 * 1024 * 1024
"""Bound of an API answer, bytes: a manifest, 64 descriptors and their addresses fit."""
MAX_RETRY_AFTER_S = 86_400
MAX_TIME = 2**40
"""Bound of a server's clock, seconds since 1970: what lies beyond is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer of the API."""

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
    """One exchange on a connection of its own; the body is still to be read.

    Raises:
        Unreachable, TlsFailed, TimedOut: before or while the answer is read inside the `with`.
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
        raise TimedOut(f"{host}: nothing for {timeout:g} s") from error
    except ssl.SSLError as error:
        raise TlsFailed(f"{host}: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Only sockets are used inside: an `OSError` here is never the disk's.
        raise Unreachable(f"{host or url[:200]}: {type(error).__name__} {error}") from error


@contextmanager
def _deadline(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """End the exchange after `seconds`, bytes or not: a head that drips would pass every socket timeout."""

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
    raise ValueError(f"{scheme} is no scheme of ours")


def call(
    method: str, url: str, *, value: bytes | None = None, token: str | None = None, timeout: float = TIMEOUT_S
) -> Reply:
    """Call the API and read its answer whole.

    Raises:
        ServerBusy: 429 or 5xx, with how long to wait.
        Refused: any other status from 400 on, with the problem's code.
        Oversize: the answer is longer than `MAX_ANSWER`.
        Unreachable, TlsFailed, TimedOut: no answer.
    """
    headers = {"Accept": "application/json"}
    if value is not None:
        headers["Content-Type"] = "application/json"
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with request(method, url, body=value, headers=headers, timeout=timeout) as response:
        reply = Reply(response.status, _read_bounded(response))
        wait = retry_after(response)
    if reply.status == http.client.TOO_MANY_REQUESTS or reply.status >= http.client.INTERNAL_SERVER_ERROR:
        raise ServerBusy(f"{reply.status} from {urlsplit(url).path}", wait)
    if reply.status >= http.client.MULTIPLE_CHOICES:
        raise _refusal(reply)
    return reply


def raise_for_object(response: http.client.HTTPResponse) -> None:
    """Sort the status of a download into errors.

    Raises:
        UrlExpired: 400, 401, 403, 404, 410: stores answer with any of them once a signature is over.
        ServerBusy: 429 or 5xx.
        Unreachable: anything else that carries no content of ours, redirects included.
    """
    status = response.status
    if status in (http.client.OK, http.client.PARTIAL_CONTENT, http.client.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    if status in (400, 401, 403, 404, 410):
        raise UrlExpired(f"status {status}")
    if status == http.client.TOO_MANY_REQUESTS or status >= http.client.INTERNAL_SERVER_ERROR:
        raise ServerBusy(f"status {status}", retry_after(response))
    raise Unreachable(f"status {status}")


def retry_after(response: http.client.HTTPResponse) -> int:
    """Seconds from `Retry-After`, at most a day; 0 where it is absent or a date."""
    text = (response.getheader("Retry-After") or "").strip()
    return min(int(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def require_private(url: str, *, plain_http: bool) -> str:
    """The server's address without a trailing slash, once a token may travel to it.

    Raises:
        InsecureServer: plain http to another machine, and the operator did not allow it.
    """
    parts = urlsplit(url)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme == "https" or (parts.scheme == "http" and (local or plain_http)):
        return url.rstrip("/")
    raise InsecureServer(f"{url}: https is needed (or http to this machine)")


def _read_bounded(response: http.client.HTTPResponse) -> bytes:
    deadline = time.monotonic() + 2 * TIMEOUT_S
    data = bytearray()
    while piece := response.read1(64 * 1024):
        data += piece
        if len(data) > MAX_ANSWER:
            raise Oversize(f"the answer is longer than {MAX_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimedOut("the answer trickles")
    return bytes(data)


def _refusal(reply: Reply) -> Refused:
    try:
        problem: Any = json.loads(reply.body[:65536])
        told = problem.get("server_time")
        told = told if type(told) is int and 0 < told < MAX_TIME else None
        return Refused(reply.status, str(problem["code"])[:64], str(problem.get("detail", ""))[:500], told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Refused(reply.status, "no_problem")
