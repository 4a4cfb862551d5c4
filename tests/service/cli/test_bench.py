import asyncio
import json
import random
from contextlib import suppress

import pytest

from service.cli.bench import cases, sockets, wrk
from service.cli.bench.asgi import Reply, measure
from service.cli.bench.cases import WrongAnswer
from service.cli.bench.fleet import POLL, handset, poll_body, with_device_key
from service.cli.bench.wire import Wire
from service.tokens import Binding, unverified_subject, utc_now, verify_assertion


async def echo(scope, receive, send):
    """An application that answers with what it was sent."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def settled():
    """Nothing is left to be done."""


def test_every_call_is_sent_and_every_answer_is_looked_at():
    device, seen = handset(1), []
    calls = [with_device_key(device, POLL, b'{"n":%d}' % number, utc_now()) for number in range(300)]
    cost = asyncio.run(measure(echo, calls, settled, lambda reply: seen.append(reply.body)))
    assert cost.calls == 300
    assert sorted(seen) == sorted(call.body for call in calls)
    assert cost.cpu_s > 0


def test_a_signed_poll_of_the_benchmark_is_one_that_the_server_believes():
    device = handset(7)
    call = with_device_key(device, POLL, poll_body(device, "m", "v1"), utc_now())
    token = dict(call.headers)[b"authorization"].decode().removeprefix("Bearer ")
    assert unverified_subject(token) == device.id
    assert verify_assertion(token, device.key.public_key, utc_now(), Binding("POST", POLL, call.body))


@pytest.mark.parametrize(
    ("look", "reply"),
    [
        (cases.no_update, Reply(200, b'{"need_update":true,"directive":{}}')),
        (cases.no_update, Reply(503, b"{}")),
        (cases.an_offer, Reply(200, b'{"need_update":false}')),
        (cases.taken_in, Reply(202, b'{"accepted":49,"duplicates":1}')),
        (cases.answered, Reply(422, b"{}")),
    ],
)
def test_a_benchmark_that_measures_something_else_than_it_says_fails(look, reply):
    with pytest.raises(WrongAnswer):
        look(reply)


def test_each_round_asks_other_devices_until_all_have_had_their_turn():
    turns = cases.batches(list(range(2500)))
    assert [len(next(turns)) for _ in range(4)] == [1000, 1000, 500, 1000]


def test_requests_that_are_late_count_from_when_they_were_due():
    async def slow(reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(0.01)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async def run():
        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wire = await Wire.open(port)
        device = handset(random.randrange(9))
        call = with_device_key(device, POLL, b"{}", utc_now())
        first = await wire.send(call)
        wire.close()
        late = await sockets.p99_ms(port, [call], 50)
        server.close()
        return first, late

    first, late = asyncio.run(run())
    assert first == (200, b"{}")
    assert json.loads(first[1]) == {}
    assert late >= 10


@pytest.mark.skipif(wrk.program() is None, reason="wrk is not installed")
def test_wrk_sends_what_was_prepared_and_what_is_refused_does_not_count(tmp_path):
    device, seen = handset(1), set()
    calls = [with_device_key(device, POLL, b'{"n":%d}' % number, utc_now()) for number in range(30)]
    handlers = []

    async def moody(reader, writer):
        handlers.append(asyncio.current_task())
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
                return
            seen.add(body)
            status = b"503 No" if body == calls[0].body else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}" % status)

    async def run(chosen):
        server = await asyncio.start_server(moody, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await wrk.per_second(wrk.program(), port, chosen, tmp_path)
        server.close()
        await asyncio.gather(*handlers)
        handlers.clear()
        return found

    assert asyncio.run(run(calls)) > 0
    assert seen == {call.body for call in calls}
    assert asyncio.run(run(calls[:1])) == 0


def test_wrk_that_says_nothing_useful_is_a_named_error(tmp_path):
    with pytest.raises(wrk.WrkFailed, match="-c32"):
        asyncio.run(wrk.per_second("echo", 1, [], tmp_path))
