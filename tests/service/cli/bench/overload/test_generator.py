"""The generator against servers that answer, refuse, break off, or say nothing: each is told apart."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict

import pytest

from service.cli.bench.overload.lines import is_whole, number_after, outcome_of
from service.cli.bench.overload.plan import Outcome, Phase, Plan, Shape, Told
from service.cli.bench.overload.story import generate

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"next_poll_s":100}'
BUSY = b"HTTP/1.1 503 Unavailable\r\nretry-after: 20\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BARE = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
FAULT = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"
RATE, SECONDS = 100, 0.5


async def run(answer, shape):
    """What the generator has seen of a server that says `answer` to everything; None hangs up, empty is silence."""

    async def serve(reader, writer):
        while data := await reader.read(65536):
            del data
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await load(server.sockets[0].getsockname()[1], shape)


async def load(port, shape):
    phases = (Phase("load", SECONDS, RATE),)
    return await generate(Plan(os.getpid(), port, shape, phases, patience_s=0.5, devices=3))


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, Outcome.ANSWERED),
        (BUSY, Outcome.TURNED_AWAY),
        (BARE, Outcome.BARE_503),
        (FAULT, Outcome.OTHER_STATUS),
        (None, Outcome.RESET),
        (b"", Outcome.TIMED_OUT),
    ],
)
def test_every_request_that_was_due_has_one_outcome_and_the_right_one(shape, answer, outcome):
    told = asyncio.run(run(answer, shape))
    assert told.phases[0].due == RATE * SECONDS
    assert told.phases[0].outcomes == {outcome: RATE * SECONDS}


def test_a_port_where_nobody_listens_refuses():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = asyncio.run(load(taken.getsockname()[1], Shape.NEW))
    assert told.phases[0].outcomes == {Outcome.REFUSED: RATE * SECONDS}


def test_a_server_that_says_nothing_does_not_slow_the_rate_down():
    told = asyncio.run(run(b"", Shape.KEPT))
    assert told.open_at_most == RATE * SECONDS


def test_plan_and_result_go_through_a_pipe():
    plan = Plan(os.getpid(), 1, Shape.NEW, (Phase("load", 0.1, 50),), devices=1)
    said = subprocess.run(
        [sys.executable, "-m", "service.cli.bench.overload.generator"],
        input=json.dumps(asdict(plan)).encode(),
        capture_output=True,
        check=True,
    )
    assert Told.of(json.loads(said.stdout)).phases[0].due == 5


def test_answers_are_read_to_their_end():
    assert is_whole(bytearray(OK))
    assert not any(is_whole(bytearray(OK[:end])) for end in range(len(OK)))
    assert outcome_of(bytearray(OK)) is Outcome.ANSWERED
    assert number_after(bytearray(OK), b'"next_poll_s":') == 100
    assert number_after(bytearray(OK), b'"accepted":') is None
