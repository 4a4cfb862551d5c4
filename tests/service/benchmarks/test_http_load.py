import asyncio

import pytest

from service.benchmarks import http_load
from service.testbed.asgi import PreparedRequest
from service.testbed.connection import HttpConnection
from service.testbed.devices import POLL, bearer_request, poll_body, synthetic_device

RESPONSE_TIME_S = 0.01


async def respond_slowly(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        await reader.readexactly(2)
        # A server that takes its time, on purpose.
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


@pytest.mark.slow
def test_the_baseline_application_answers_polls_in_a_process_of_its_own(tmp_path):
    async def poll():
        async with http_load.baseline_process(tmp_path) as port:
            connection = await HttpConnection.open(port)
            body = poll_body(synthetic_device(1), "m", "v1")
            status, _body = await connection.send(bearer_request(POLL, body, ""))
            connection.close()
            return status

    assert asyncio.run(poll()) == 200
