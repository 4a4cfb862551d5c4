"""What the tests stand on: each gets a database in which nothing is left of the last one."""

import psycopg
import pytest

from tests.databases import read_contents, write_contents


@pytest.fixture
def connect():
    """Connections that nobody closes, as of a test that went wrong."""
    left = []

    def connected(url):
        left.append(psycopg.connect(url.replace("+psycopg", ""), autocommit=True))
        return left[-1]

    yield connected
    for connection in left:
        connection.close()


def test_rows_and_numbers_of_the_last_test_are_gone_and_so_are_its_connections(spare_database, connect):
    first = spare_database.renew()
    untouched = read_contents(first)
    straggler = connect(first)
    straggler.execute("insert into cohorts (name, rule) values ('left', '{}')")
    straggler.execute("select nextval(pg_get_serial_sequence('patches', 'id'))")
    assert read_contents(first) != untouched
    second = spare_database.renew()
    assert second != first
    assert read_contents(second) == untouched
    with pytest.raises(psycopg.OperationalError):
        straggler.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        connect(first)


@pytest.mark.parametrize(
    "change",
    ["drop table webhooks cascade", "create table mine ()", "analyze cohorts", "alter table jobs add x int"],
)
def test_what_a_test_did_to_the_schema_or_to_the_statistics_is_gone_too(spare_database, connect, change):
    url = spare_database.renew()
    shape = "select oid from pg_database where datname = current_database()"
    before = connect(url).execute(shape).fetchone()
    connect(url).execute("insert into cohorts (name, rule) values ('left', '{}')")
    connect(url).execute(change)
    assert connect(spare_database.renew()).execute(shape).fetchone() != before


def test_contents_are_put_back_as_they_were(spare_database, connect):
    url = spare_database.renew()
    connect(url).execute("insert into cohorts (name, rule) values ('kept', '{}')")
    kept = read_contents(url)
    url = spare_database.renew()
    write_contents(url, kept)
    assert read_contents(url) == kept
    assert connect(url).execute("select name from cohorts").fetchall() == [("kept",)]
