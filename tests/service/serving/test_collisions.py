import asyncio

from sqlalchemy import text

from service import database
from service.serving.group_commit import commit
from service.store.devices import DeviceRow

LOCK = text("update devices set seen_at = now() where id = :id")


def test_of_two_writers_in_a_deadlock_both_come_through_in_the_end(live):
    with database.transaction(live.engine) as session:
        session.add_all(DeviceRow(id=name, public_key=b"", status="accepted") for name in ("a", "b"))
    assert asyncio.run(_collide(live.settings.database_url)) == [["done"], ["done"]]


async def _collide(url):
    engine = database.async_engine_for(url)
    both_hold_one = asyncio.Barrier(2)
    collided = asyncio.Event()

    async def write(connection, items):
        (order,) = items
        await connection.execute(LOCK, {"id": order[0]})
        if not collided.is_set():
            await both_hold_one.wait()
            collided.set()
        await connection.execute(LOCK, {"id": order[1]})
        return ["done"]

    try:
        return await asyncio.gather(commit(engine, write, [("a", "b")]), commit(engine, write, [("b", "a")]))
    finally:
        await engine.dispose()
