import asyncio

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from service.infrastructure import database


@pytest.fixture
def numbers(engine):
    with engine.begin() as connection:
        connection.execute(text("create table numbers (n int primary key)"))

    def found():
        with engine.begin() as connection:
            return [row[0] for row in connection.execute(text("select n from numbers order by n"))]

    return found


def insert(session, number):
    session.execute(text("insert into numbers values (:n)"), {"n": number})


def insert_and_fail(engine, done):
    with database.transaction(engine) as session:
        insert(session, 1)
        database.after_commit(session, lambda: done.append("called"))
        raise LookupError


def test_a_transaction_commits_and_then_runs_its_callbacks_in_order(engine, numbers):
    seen = []
    with database.transaction(engine) as session:
        insert(session, 1)
        database.after_commit(session, lambda: seen.append(("a", numbers())))
        database.after_commit(session, lambda: seen.append(("b", numbers())))
        assert seen == []
    assert seen == [("a", [1]), ("b", [1])]


def test_a_transaction_that_raises_is_rolled_back_and_runs_no_callback(engine, numbers):
    done: list[str] = []
    with pytest.raises(LookupError):
        insert_and_fail(engine, done)
    assert (numbers(), done) == ([], [])


def test_a_failed_commit_runs_no_callback(engine, numbers):
    with engine.begin() as connection:
        connection.execute(
            text("alter table numbers add constraint late unique (n) deferrable initially deferred")
        )
        connection.execute(text("alter table numbers drop constraint numbers_pkey"))
    done = []

    def insert_twice():
        with database.transaction(engine) as session:
            insert(session, 1)
            insert(session, 1)
            database.after_commit(session, lambda: done.append("called"))

    with pytest.raises(DBAPIError):
        insert_twice()
    assert (numbers(), done) == ([], [])


def test_a_read_only_session_cannot_write(engine, numbers):
    with database.read_only(engine) as session, pytest.raises(InternalError):
        insert(session, 1)


def test_a_read_only_session_does_not_see_later_commits(engine, numbers):
    count = text("select count(*) from numbers")
    with database.read_only(engine) as session:
        assert session.scalar(count) == 0
        with database.transaction(engine) as other:
            insert(other, 1)
        assert session.scalar(count) == 0
    assert numbers() == [1]


def test_one_transaction_at_a_time_holds_an_advisory_lock_until_it_ends(engine):
    with database.transaction(engine) as first:
        assert database.try_advisory_lock(first, 7)
        with database.transaction(engine) as second:
            assert not database.try_advisory_lock(second, 7)
            assert database.try_advisory_lock(second, 8)
    with database.transaction(engine) as third:
        assert database.try_advisory_lock(third, 7)


def test_a_connection_to_a_demoted_server_is_dropped(engine):
    """`select 1` succeeds on it, so only the failed write reveals it."""
    with engine.connect() as connection:
        before = backend(connection)
        connection.commit()
        connection.execute(text("set default_transaction_read_only = on"))
        connection.commit()
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text("create table t (n int)"))
    assert caught.value.connection_invalidated
    with engine.connect() as connection:
        assert backend(connection) != before
        connection.execute(text("create table t (n int)"))


def test_a_terminated_connection_is_replaced(settings, engine):
    with engine.connect() as connection:
        victim = backend(connection)
    with psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [victim])
    with engine.connect() as connection:
        assert backend(connection) != victim


def test_an_unreachable_server_raises_an_operational_error():
    engine = database.engine_for("postgresql+psycopg://x@127.0.0.1:1/x")
    with pytest.raises(OperationalError):
        engine.connect()


def backend(connection):
    return connection.scalar(text("select pg_backend_pid()"))


# --- SingleConnection -----------------------------------------------------------------------------------


def with_connection(settings, scenario):
    async def main():
        single = database.SingleConnection(settings.database_url)
        try:
            return await scenario(single)
        finally:
            await single.aclose()

    return asyncio.run(main())


def test_queries_share_one_connection(settings):
    async def scenario(single):
        return [await single.fetch_all("select pg_backend_pid(), %s::text", [word]) for word in ("a", "b")]

    (one,), (two,) = with_connection(settings, scenario)
    assert (one[0], one[1], two[1]) == (two[0], "a", "b")


def test_a_broken_connection_is_opened_again(settings, engine):
    async def scenario(single):
        ((before,),) = await single.fetch_all("select pg_backend_pid()", [])
        with engine.connect() as connection:
            connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": before})
        ((after,),) = await single.fetch_all("select pg_backend_pid()", [])
        return before, after

    before, after = with_connection(settings, scenario)
    assert before != after


def test_a_query_to_an_unreachable_database_raises():
    async def scenario():
        single = database.SingleConnection("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        with pytest.raises(psycopg.OperationalError):
            await single.fetch_all("select 1", [])

    asyncio.run(scenario())
