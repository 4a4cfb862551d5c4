import asyncio

import pytest

from service.api.middleware.body_limit import MAX_BODY, MAX_LIST, BodyLimit

MIB = 2**20


class Connection:
    """A client that sends 1 MiB again and again, and what it hears."""

    def __init__(self, chunks):
        self.chunks = chunks
        self.taken = 0
        self.heard = []

    async def receive(self):
        self.taken += 1
        return {"type": "http.request", "body": bytes(MIB), "more_body": self.taken < self.chunks}

    async def send(self, message):
        self.heard.append(message)

    @property
    def status(self):
        return self.heard[0]["status"]


async def reader(_scope, receive, send):
    """An application that reads all it can get."""
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    await answer(send)


async def early(_scope, receive, send):
    """One that answers before it reads."""
    await answer(send)
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass


async def answer(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(app, connection, path="/v1/admin/models/m", headers=()):
    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(BodyLimit(app)(scope, connection.receive, connection.send))
    return connection


def test_what_fits_is_passed_on():
    assert ask(reader, Connection(4)).status == 200


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/admin/models/m", MAX_BODY), ("/v1/admin/cohorts/c", MAX_LIST)]
)
def test_nothing_is_read_behind_the_limit(path, limit):
    connection = ask(reader, Connection(10**9), path)
    assert connection.status == 413
    assert connection.taken == limit // MIB + 1


@pytest.mark.parametrize("length", [b"4194305", b"99999999999999999"])
def test_a_length_that_is_too_long_is_refused_before_anything_is_read(length):
    connection = ask(reader, Connection(10**9), headers=[(b"content-length", length)])
    assert (connection.status, connection.taken) == (413, 0)


@pytest.mark.parametrize("length", [b"", b"-1", b"many", b"9" * 40])
def test_a_length_that_is_none_is_not_believed(length):
    assert ask(reader, Connection(10), headers=[(b"content-length", length)]).status == 413


def test_who_has_answered_already_is_not_answered_twice():
    connection = ask(early, Connection(10))
    assert [message.get("status") for message in connection.heard] == [200, None]


def test_what_is_not_http_is_left_alone():
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    asyncio.run(BodyLimit(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
