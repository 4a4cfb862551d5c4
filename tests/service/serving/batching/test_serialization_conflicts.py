"""Transactions that deadlock are retried."""

import asyncio

from sqlalchemy import text

from service.infrastructure import database
from service.serving.batching.write_batcher import commit_batch
from service.store.fleet.devices import DeviceRow

LOCK = text("update devices set seen_at = now() where id = :id")


def test_two_writers_in_a_deadlock_both_succeed(live):
    with database.transaction(live.engine) as session:
        session.add_all(DeviceRow(id=name, public_key=b"", status="accepted") for name in ("a", "b"))
    assert asyncio.run(_collide(live.settings.database_url)) == [["done"], ["done"]]


async def _collide(url):
    engine = database.async_engine_for(url)
    both_locked_one = asyncio.Barrier(2)
    conflicted = asyncio.Event()

    async def write(connection, items):
        (order,) = items
        await connection.execute(LOCK, {"id": order[0]})
        if not conflicted.is_set():
            await both_locked_one.wait()
            conflicted.set()
        await connection.execute(LOCK, {"id": order[1]})
        return ["done"]

    try:
        return await asyncio.gather(
            commit_batch(engine, write, [("a", "b")]), commit_batch(engine, write, [("b", "a")])
        )
    finally:
        await engine.dispose()
