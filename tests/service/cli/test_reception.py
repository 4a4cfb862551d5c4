"""Real connections to a small application behind the reception of `graylag api`."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import uvicorn

from service.cli.bench.asgi import Call
from service.cli.bench.wire import raw
from service.cli.reception import DEVICES, Reception, Room, Visitor, is_one, refusals
from service.domain.load import FIRST_ROOM, ONE_IN
from service.serving.pressure import Pressure

POLL = raw(Call("/v1/model/update", ((b"host", b"x"), (b"content-length", b"4")), b"poll"))
HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


class Waiting:
    """How many have arrived before, as the test says."""

    def __init__(self, count=0):
        self.count = count

    def __call__(self):
        return self.count


class Inside:
    """An application that answers everything, and tells what it was asked."""

    def __init__(self):
        self.heard = []

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.heard.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def open_door(waiting):
    """A reception that listens; its port, and what is behind it."""
    inside, listening = Inside(), socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(inside, log_config=None, access_log=False, lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    room = Room(Pressure(), waiting)

    def visitor(let_in):
        return Visitor(room, let_in=let_in, config=config, server_state=server.server_state, app_state={})

    door = Reception(listening, room, visitor)
    door.open()
    try:
        yield listening.getsockname()[1], inside
    finally:
        door.close()
        for connection in list(server.server_state.connections):
            connection.transport.close()
        await asyncio.sleep(0)


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def hear(reader):
    """Status, headers and body of one answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    status, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def ask(port, *pieces):
    reader, writer = await connect(port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    answer = await hear(reader)
    writer.close()
    return answer


def full():
    return Waiting(FIRST_ROOM)


def test_a_device_is_served_while_there_is_room():
    async def story():
        async with open_door(Waiting()) as (port, inside):
            assert (await ask(port, POLL))[0] == 200
            assert inside.heard == [("/v1/model/update", b"poll")]

    asyncio.run(story())


def test_without_room_devices_hear_at_the_door_when_to_come_back_but_for_one_in_a_few():
    async def story():
        async with open_door(full()) as (port, inside):
            answers = [await ask(port, POLL) for _ in range(4 * ONE_IN)]
            assert len(inside.heard) >= 1
            refused = [one for one in answers if one[0] == 503]
            assert len(refused) >= 2 * ONE_IN
            for _status, headers, body in refused:
                problem = json.loads(body)
                assert headers["connection"] == "close"
                assert headers["content-type"] == "application/problem+json"
                assert 15 <= int(headers["retry-after"]) == problem["retry_after_s"] <= 45
                assert problem["code"] == "unavailable"
            assert len({headers["retry-after"] for _, headers, _ in refused}) > 5

    asyncio.run(story())


def test_probes_and_operators_come_in_also_without_room():
    async def story():
        async with open_door(full()) as (port, inside):
            answers = [await ask(port, HEALTH) for _ in range(3 * ONE_IN)]
            assert {status for status, _, _ in answers} == {200}
            assert len(inside.heard) == 3 * ONE_IN

    asyncio.run(story())


def test_a_connection_that_was_served_is_turned_away_and_closed_once_there_is_no_room():
    async def story():
        waiting = Waiting()
        async with open_door(waiting) as (port, inside):
            reader, writer = await connect(port)
            writer.write(POLL)
            assert (await hear(reader))[0] == 200
            waiting.count = FIRST_ROOM
            writer.write(POLL)
            assert (await hear(reader))[0] == 503
            assert await reader.read() == b""
            assert len(inside.heard) == 1
            writer.close()

    asyncio.run(story())


@pytest.mark.parametrize("cut", [20, POLL.index(b"\r\n\r\n") + 4, len(POLL) - 1])
def test_a_request_in_pieces_is_turned_away_too(cut):
    async def story():
        async with open_door(full()) as (port, inside):
            answers = [await ask(port, POLL[:cut], POLL[cut:]) for _ in range(ONE_IN)]
            assert {status for status, _, _ in answers} <= {200, 503}
            assert sum(status == 503 for status, _, _ in answers) >= ONE_IN // 2
            assert len(inside.heard) == sum(status == 200 for status, _, _ in answers)

    asyncio.run(story())


def test_a_body_that_looks_like_a_request_is_a_body():
    smuggled = raw(Call("/v1/model/update", ((b"host", b"x"), (b"content-length", b"%d" % len(POLL))), POLL))

    async def story():
        waiting = Waiting()
        async with open_door(waiting) as (port, inside):
            reader, writer = await connect(port)
            writer.write(smuggled[: -len(POLL)])
            await asyncio.sleep(0.05)
            waiting.count = FIRST_ROOM
            writer.write(POLL)
            assert (await hear(reader))[0] == 200
            assert inside.heard == [("/v1/model/update", POLL)]
            writer.close()

    asyncio.run(story())


def test_who_says_nothing_keeps_nobody_from_coming_in():
    async def story():
        async with open_door(full()) as (port, _inside):
            silent = [await connect(port) for _ in range(5)]
            assert (await ask(port, HEALTH))[0] == 200
            for _reader, writer in silent:
                writer.close()

    asyncio.run(story())


def test_without_descriptors_it_pauses_and_goes_on(monkeypatch):
    failures = iter([OSError(24, "too many open files")])
    accept = socket.socket.accept

    def scarce(listening):
        for error in failures:
            raise error
        return accept(listening)

    async def story():
        async with open_door(Waiting()) as (port, _inside):
            assert (await ask(port, POLL))[0] == 200

    monkeypatch.setattr(socket.socket, "accept", scarce)
    asyncio.run(story())
    assert next(failures, None) is None


@pytest.mark.parametrize(
    "odd",
    [
        POLL[:-1],
        POLL + b"x",
        POLL.replace(b"HTTP/1.1", b"HTTP/1.0"),
        POLL.replace(b"content-length: 4", b"transfer-encoding: chunked"),
        POLL.replace(b"content-length: 4", b"content-length: 4\r\ncontent-length: 4"),
        POLL.replace(b"content-length: 4", b"content-length: 4\r\ntransfer-encoding: chunked"),
        POLL.replace(b"content-length: 4", b"content-length: +4"),
        POLL.replace(b"content-length: 4", b"content-length: 99999999999999999999"),
        DEVICES,
        b"",
    ],
)
def test_what_is_odd_goes_the_usual_way(odd):
    assert is_one(POLL)
    assert not is_one(odd)


def test_refusals_ask_for_times_that_are_spread_evenly():
    times = sorted(int(one.split(b"retry-after: ")[1].split(b"\r\n")[0]) for one in refusals())
    assert (times[0], times[-1]) == (15, 45)
    assert all(after - before <= 1 for before, after in pairwise(times))
