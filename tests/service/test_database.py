import asyncio

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from service import database


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


def insert_in_vain(engine, done):
    with database.transaction(engine) as session:
        insert(session, 1)
        database.after_commit(session, lambda: done.append("rung"))
        raise LookupError


def test_a_block_that_ends_is_committed_and_its_callbacks_run_after_that_in_order(engine, numbers):
    seen = []
    with database.transaction(engine) as session:
        insert(session, 1)
        database.after_commit(session, lambda: seen.append(("a", numbers())))
        database.after_commit(session, lambda: seen.append(("b", numbers())))
        assert seen == []
    assert seen == [("a", [1]), ("b", [1])]


def test_a_block_that_raises_leaves_nothing_and_calls_nobody(engine, numbers):
    done = []
    with pytest.raises(LookupError):
        insert_in_vain(engine, done)
    assert (numbers(), done) == ([], [])


def test_a_commit_that_fails_calls_nobody(engine, numbers):
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
            database.after_commit(session, lambda: done.append("rung"))

    with pytest.raises(DBAPIError):
        insert_twice()
    assert (numbers(), done) == ([], [])


def test_a_read_only_view_cannot_write(engine, numbers):
    with database.read_only(engine) as session, pytest.raises(InternalError):
        insert(session, 1)


def test_a_read_only_view_stays_the_same_whatever_others_commit(engine, numbers):
    count = text("select count(*) from numbers")
    with database.read_only(engine) as session:
        assert session.scalar(count) == 0
        with database.transaction(engine) as other:
            insert(other, 1)
        assert session.scalar(count) == 0
    assert numbers() == [1]


def test_only_one_transaction_at_a_time_holds_a_lock_and_its_end_gives_it_back(engine):
    with database.transaction(engine) as first:
        assert database.alone(first, 7)
        with database.transaction(engine) as second:
            assert not database.alone(second, 7)
            assert database.alone(second, 8)
    with database.transaction(engine) as third:
        assert database.alone(third, 7)


def test_a_demoted_server_is_let_go_of(engine):
    """`select 1` succeeds on it, so only the failed write tells."""
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


def test_a_connection_that_was_cut_is_replaced(settings, engine):
    with engine.connect() as connection:
        victim = backend(connection)
    with psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [victim])
    with engine.connect() as connection:
        assert backend(connection) != victim


def test_a_server_that_is_not_there_is_an_operational_error():
    engine = database.engine_for("postgresql+psycopg://x@127.0.0.1:1/x")
    with pytest.raises(OperationalError):
        engine.connect()


def backend(connection):
    return connection.scalar(text("select pg_backend_pid()"))


# --- the reader -----------------------------------------------------------------------------------


def read(settings, story):
    async def main():
        reader = database.Reader(settings.database_url)
        try:
            return await story(reader)
        finally:
            await reader.aclose()

    return asyncio.run(main())


def test_a_reader_asks_again_and_again_over_one_connection(settings):
    async def story(reader):
        return [await reader.rows("select pg_backend_pid(), %s::text", [word]) for word in ("a", "b")]

    (one,), (two,) = read(settings, story)
    assert (one[0], one[1], two[1]) == (two[0], "a", "b")


def test_a_reader_whose_connection_broke_opens_another(settings, engine):
    async def story(reader):
        ((before,),) = await reader.rows("select pg_backend_pid()", [])
        with engine.connect() as connection:
            connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": before})
        ((after,),) = await reader.rows("select pg_backend_pid()", [])
        return before, after

    before, after = read(settings, story)
    assert before != after


def test_a_reader_of_a_database_that_is_away_says_so():
    async def story():
        reader = database.Reader("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        with pytest.raises(psycopg.OperationalError):
            await reader.rows("select 1", [])

    asyncio.run(story())
