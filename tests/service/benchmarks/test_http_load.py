import asyncio

from service.benchmarks import http_load
from service.testbed.asgi import PreparedRequest

RESPONSE_TIME_S = 0.01


async def respond_slowly(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        await reader.readexactly(2)
        await asyncio.sleep(RESPONSE_TIME_S)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_latency_counts_from_when_a_request_was_due():
    async def measure():
        server = await asyncio.start_server(respond_slowly, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        request = PreparedRequest("/", ((b"content-length", b"2"),), b"{}")
        latency = await http_load.latency_p99_ms(port, [request], 50)
        server.close()
        return latency

    assert asyncio.run(measure()) >= RESPONSE_TIME_S * 1000
