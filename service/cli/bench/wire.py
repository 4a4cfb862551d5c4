"""HTTP/1.1 for load generators: prepared requests over kept-alive connections."""

import asyncio

from service.cli.bench.asgi import Call


class Wire:
    """One kept-alive HTTP/1.1 connection that sends prepared requests; as little as a load generator can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use an open connection."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", *, tls: bool = False) -> "Wire":
        """Connect."""
        return cls(*await asyncio.open_connection(host, port, ssl=tls or None))

    async def send(self, call: Call) -> tuple[int, bytes]:
        """One request; status and body of its answer.

        Raises:
            OSError, asyncio.IncompleteReadError: the connection broke.
        """
        self._writer.write(raw(call))
        answer = await self._reader.readuntil(b"\r\n\r\n")
        lines = answer.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return int(answer[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def raw(call: Call) -> bytes:
    """The request as it goes over the wire."""
    head = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in call.headers)
    return f"POST {call.path} HTTP/1.1\r\n{head}\r\n".encode() + call.body
