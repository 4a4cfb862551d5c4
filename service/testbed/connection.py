"""A minimal HTTP/1.1 client for load generators: prepared requests over keep-alive connections."""

import asyncio

from service.testbed.asgi import PreparedRequest


class HttpConnection:
    """One keep-alive connection; it does as little work per request as a load generator can."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use an open connection."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", *, tls: bool = False) -> "HttpConnection":
        """Connect to a server."""
        return cls(*await asyncio.open_connection(host, port, ssl=tls or None))

    async def send(self, request: PreparedRequest) -> tuple[int, bytes]:
        """Send one request; return status and body of the response.

        Raises:
            OSError, asyncio.IncompleteReadError: the connection broke.
        """
        self._writer.write(to_http1(request))
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def to_http1(request: PreparedRequest) -> bytes:
    """The bytes of a request in HTTP/1.1."""
    headers = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in request.headers)
    return f"POST {request.path} HTTP/1.1\r\n{headers}\r\n".encode() + request.body
