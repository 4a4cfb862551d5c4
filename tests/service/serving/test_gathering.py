import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.serving.gathering import Gathered
from service.serving.marks import Marks


class Answering:
    """Doubles numbers, a batch at a time, and remembers the batches."""

    def __init__(self):
        self.batches = []

    async def __call__(self, questions):
        self.batches.append(list(questions))
        await asyncio.sleep(0)
        if 13 in questions:
            raise ValueError("13")
        return [2 * number for number in questions]


def test_questions_that_come_together_are_asked_together_and_each_gets_its_own_answer():
    answering = Answering()

    async def run():
        gathered = Gathered(answering, max_batch=4)
        return await asyncio.gather(*(gathered.ask(number) for number in range(6)))

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    assert answering.batches == [[0, 1, 2, 3], [4, 5]]


def test_a_failure_reaches_all_that_asked_together_and_nobody_later():
    async def run():
        gathered = Gathered(Answering())
        failed = await asyncio.gather(*(gathered.ask(number) for number in (1, 13)), return_exceptions=True)
        return failed, await gathered.ask(4)

    failed, later = asyncio.run(run())
    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert later == 8


def test_who_gives_up_waiting_does_not_stop_the_others():
    async def run():
        gathered = Gathered(Answering())
        impatient = asyncio.create_task(gathered.ask(1))
        other = asyncio.create_task(gathered.ask(2))
        await asyncio.sleep(0)
        impatient.cancel()
        return await other

    assert asyncio.run(run()) == 4


def test_a_mark_is_fresh_once_also_among_those_that_come_together(endpoints):
    async def run():
        valkey = Redis.from_url(endpoints.redis_url)
        marks = Marks(valkey)
        names = ["test:marks:a", "test:marks:b", "test:marks:a"]
        first = await asyncio.gather(*(marks.set(name, b"1", nx=True, ex=60) for name in names))
        again = await marks.set("test:marks:b", b"1", nx=True, ex=60)
        life = await valkey.ttl("test:marks:b")
        await valkey.delete(*names)
        await valkey.aclose()
        return first, again, life

    first, again, life = asyncio.run(run())
    assert (first, again) == ([True, True, False], False)
    assert 0 < life <= 60


def test_marks_say_so_when_valkey_is_away():
    async def run():
        valkey = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
        try:
            await Marks(valkey).set("a", b"1", nx=True, ex=60)
        finally:
            await valkey.aclose()

    with pytest.raises(RedisError):
        asyncio.run(run())
