"""Request bodies above the limit are refused before they are read."""

import asyncio

import pytest

from service.api.middleware.body_limit import MAX_BODY, MAX_DEVICE_LIST_BODY, BodyLimit
from tests.service.support.actors import ok, refused

MIB = 2**20


class ClientConnection:
    """A client that sends chunks of 1 MiB, and records the ASGI messages of the response."""

    def __init__(self, chunks):
        self.chunks = chunks
        self.received = 0
        self.sent = []

    async def receive(self):
        self.received += 1
        return {"type": "http.request", "body": bytes(MIB), "more_body": self.received < self.chunks}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]


async def read_then_respond(_scope, receive, send):
    """An application that reads the whole body and then responds."""
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    await respond(send)


async def respond_then_read(_scope, receive, send):
    """An application that responds before it reads the body."""
    await respond(send)
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass


async def respond(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def send_request(app, connection, path="/v1/admin/models/m", headers=()):
    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(BodyLimit(app)(scope, connection.receive, connection.send))
    return connection


def test_a_body_within_the_limit_is_passed_on():
    assert send_request(read_then_respond, ClientConnection(4)).status == 200


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/admin/models/m", MAX_BODY), ("/v1/admin/cohorts/c", MAX_DEVICE_LIST_BODY)]
)
def test_reading_stops_at_the_limit(path, limit):
    connection = send_request(read_then_respond, ClientConnection(10**9), path)
    assert connection.status == 413
    assert connection.received == limit // MIB + 1


@pytest.mark.parametrize("length", [b"4194305", b"99999999999999999"])
def test_a_content_length_above_the_limit_is_refused_before_reading(length):
    connection = send_request(
        read_then_respond, ClientConnection(10**9), headers=[(b"content-length", length)]
    )
    assert (connection.status, connection.received) == (413, 0)


@pytest.mark.parametrize("length", [b"", b"-1", b"many", b"9" * 40])
def test_with_an_invalid_content_length_the_received_bytes_are_counted(length):
    assert (
        send_request(read_then_respond, ClientConnection(10), headers=[(b"content-length", length)]).status
        == 413
    )


def test_a_response_that_has_started_is_not_replaced():
    connection = send_request(respond_then_read, ClientConnection(10))
    assert [message.get("status") for message in connection.sent] == [200, None]


def test_other_asgi_scopes_are_passed_on():
    connection, passed_on = ClientConnection(1), []

    async def app(scope, _receive, _send):
        passed_on.append(scope["type"])

    asyncio.run(BodyLimit(app)({"type": "lifespan"}, connection.receive, connection.send))
    assert passed_on == ["lifespan"]


def test_the_limit_applies_to_callers_without_a_credential(live):
    huge = b'{"description": "' + b"x" * (4 * 2**20) + b'"}'
    refused(live.client.put("/v1/admin/models/m", content=huge), 413, "too_large")
    refused(live.client.put("/v1/admin/models/m", content=iter([huge[:100], huge[100:]])), 413, "too_large")
    refused(live.client.put("/v1/admin/cohorts/c", content=huge), 401, "unauthorized")
    assert ok(live.client.get("/health"))
