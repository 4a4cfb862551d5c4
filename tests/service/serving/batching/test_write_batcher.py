import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.errors import Unavailable
from service.infrastructure import database
from service.serving.batching.write_batcher import WriteBatcher
from tests.service.support.outage import Outage


async def insert(connection, items):
    """One row each; the table rejects 'bad', and this function rejects 'odd'."""
    if "odd" in items:
        raise LookupError("odd")
    for item in items:
        await connection.execute(text("insert into names values (:name)"), {"name": item})
    return [f"{item} of {len(items)}" for item in items]


@pytest.fixture
def names(engine):
    with engine.begin() as connection:
        connection.execute(text("create table names (name text primary key check (name <> 'bad'))"))
    return lambda: {row[0] for row in query(engine)}


def query(engine):
    with engine.begin() as connection:
        return connection.execute(text("select name from names")).all()


def with_batcher(settings, scenario, **bounds):
    """Run a scenario while the batcher runs."""

    async def main():
        engine = database.async_engine_for(settings.database_url)
        queue = WriteBatcher(engine, insert, **bounds)
        loop = asyncio.create_task(queue.run())
        try:
            return await asyncio.wait_for(scenario(queue), 60)
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await engine.dispose()

    return asyncio.run(main())


async def submit_all(queue, *items):
    return await asyncio.gather(*(queue.submit(item) for item in items), return_exceptions=True)


def test_concurrent_writes_share_a_transaction_and_each_gets_its_own_result(settings, names):
    results = with_batcher(settings, lambda queue: submit_all(queue, "a", "b", "c"))
    assert results == ["a of 3", "b of 3", "c of 3"]
    assert names() == {"a", "b", "c"}


def test_a_caller_gets_its_result_after_the_commit(settings, names):
    async def scenario(queue):
        await queue.submit("a")
        return await asyncio.to_thread(names)

    assert with_batcher(settings, scenario) == {"a"}


def test_batches_are_bounded(settings, names):
    results = with_batcher(settings, lambda queue: submit_all(queue, *"abcde"), max_batch=2)
    assert results == ["a of 2", "b of 2", "c of 2", "d of 2", "e of 1"]


@pytest.mark.parametrize("bad_row", ["bad", "odd"])
def test_a_bad_row_fails_alone(settings, names, bad_row):
    results = with_batcher(settings, lambda queue: submit_all(queue, "a", bad_row, "b"))
    assert (results[0], results[2]) == ("a of 1", "b of 1")
    assert isinstance(results[1], IntegrityError | LookupError)
    assert names() == {"a", "b"}


@pytest.mark.parametrize("bad_row", ["bad", "odd"])
def test_a_bad_row_does_not_stop_the_loop(settings, names, bad_row):
    async def scenario(queue):
        failed = await submit_all(queue, bad_row)
        return isinstance(failed[0], Exception), await queue.submit("a")

    assert with_batcher(settings, scenario) == (True, "a of 1")


def test_a_full_queue_refuses_at_once_with_retry_after(settings, names):
    results = with_batcher(settings, lambda queue: submit_all(queue, *"abcdef"), max_waiting=4)
    assert [isinstance(result, Unavailable) for result in results] == [False] * 4 + [True] * 2
    assert results[5].retry_after_s > 0
    assert names() == set("abcd")


def test_while_the_database_is_down_callers_are_refused_and_later_ones_served(settings, names):
    outage = Outage(settings.database_url)

    async def scenario(queue):
        await queue.submit("a")
        with outage:
            refused = await submit_all(queue, "b", "c")
        return refused, await queue.submit("d")

    refused, served = with_batcher(settings, scenario)
    assert all(isinstance(result, Unavailable) and result.retry_after_s for result in refused)
    assert served == "d of 1"
    assert names() == {"a", "d"}


def test_a_canceled_write_does_not_disturb_the_others(settings, names):
    async def scenario(queue):
        canceled = asyncio.create_task(queue.submit("a"))
        other = asyncio.create_task(queue.submit("b"))
        # One turn of the event loop lets both writes join the batch.
        await asyncio.sleep(0)
        canceled.cancel()
        return await other

    assert with_batcher(settings, scenario).startswith("b of")
