import asyncio

from service.benchmarks.measurement import measure
from service.testbed.asgi import PreparedRequest


async def echo(_scope, receive, send):
    """An application that returns the body of the request."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def flush():
    """Nothing is buffered."""


def test_every_request_is_sent_once_and_every_response_is_checked():
    checked = []
    requests = [PreparedRequest("/", (), b"%d" % number) for number in range(300)]
    cost = asyncio.run(measure(echo, requests, flush, lambda response: checked.append(response.body)))
    assert cost.requests == 300
    assert sorted(checked) == sorted(request.body for request in requests)
    assert cost.cpu_s > 0
