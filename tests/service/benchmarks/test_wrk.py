import asyncio
from contextlib import suppress

import pytest

from service.benchmarks import wrk
from service.testbed.asgi import PreparedRequest

REQUESTS = [PreparedRequest("/", ((b"content-length", b"2"),), b"%02d" % number) for number in range(30)]


class Server:
    """Answers 503 to the first request and 200 to all others; records the bodies."""

    def __init__(self):
        self.bodies = set()
        self.connections = []

    async def serve(self, reader, writer):
        self.connections.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(2)
                self.bodies.add(body)
                status = b"503 No" if body == REQUESTS[0].body else b"200 OK"
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}" % status)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def measure(self, requests, directory):
        program = wrk.find_wrk()
        assert program is not None
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        rate = await wrk.successes_per_second(program, port, requests, directory)
        server.close()
        await asyncio.gather(*self.connections)
        self.connections.clear()
        return rate


@pytest.mark.skipif(wrk.find_wrk() is None, reason="wrk is not installed")
def test_wrk_sends_all_prepared_requests_and_errors_do_not_count(tmp_path):
    server = Server()
    assert asyncio.run(server.measure(REQUESTS, tmp_path)) > 0
    assert server.bodies == {request.body for request in REQUESTS}
    assert asyncio.run(server.measure(REQUESTS[:1], tmp_path)) == 0


def test_output_without_a_result_is_an_error_with_that_output(tmp_path):
    with pytest.raises(wrk.WrkFailed, match="-c32"):
        asyncio.run(wrk.successes_per_second("echo", 1, [], tmp_path))
