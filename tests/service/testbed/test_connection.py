import asyncio

from service.testbed.asgi import PreparedRequest
from service.testbed.connection import HttpConnection


def test_a_connection_sends_prepared_requests_and_returns_status_and_body():
    received = []

    async def serve(reader, writer):
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            received.append((head.split(b" ")[1], await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def exchange():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connection = await HttpConnection.open(server.sockets[0].getsockname()[1])
            request = PreparedRequest("/path", ((b"content-length", b"3"),), b"abc")
            responses = [await connection.send(request) for _ in range(2)]
            connection.close()
            return responses

    assert asyncio.run(exchange()) == [(202, b"{}")] * 2
    assert received == [(b"/path", b"abc")] * 2
