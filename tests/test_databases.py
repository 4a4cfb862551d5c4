"""The databases of the tests: each test gets one without any data of the last test."""

import psycopg
import pytest

from tests.databases import read_contents, write_contents


@pytest.fixture
def connect():
    """Open connections that are closed only at the end, like those of a failed test."""
    connections = []

    def connected(url):
        connections.append(psycopg.connect(url.replace("+psycopg", ""), autocommit=True))
        return connections[-1]

    yield connected
    for connection in connections:
        connection.close()


def test_a_renewed_database_has_no_rows_sequences_or_connections_of_the_last_test(spare_database, connect):
    first = spare_database.renew()
    untouched = read_contents(first)
    stale = connect(first)
    stale.execute("insert into cohorts (name, rule) values ('left', '{}')")
    stale.execute("select nextval(pg_get_serial_sequence('patches', 'id'))")
    assert read_contents(first) != untouched
    second = spare_database.renew()
    assert second != first
    assert read_contents(second) == untouched
    with pytest.raises(psycopg.OperationalError):
        stale.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        connect(first)


@pytest.mark.parametrize(
    "change",
    ["drop table webhooks cascade", "create table mine ()", "analyze cohorts", "alter table jobs add x int"],
)
def test_changes_of_the_schema_or_the_statistics_are_reverted(spare_database, connect, change):
    url = spare_database.renew()
    shape = "select oid from pg_database where datname = current_database()"
    before = connect(url).execute(shape).fetchone()
    connect(url).execute("insert into cohorts (name, rule) values ('left', '{}')")
    connect(url).execute(change)
    assert connect(spare_database.renew()).execute(shape).fetchone() != before


def test_the_contents_are_restored(spare_database, connect):
    url = spare_database.renew()
    connect(url).execute("insert into cohorts (name, rule) values ('kept', '{}')")
    kept = read_contents(url)
    url = spare_database.renew()
    write_contents(url, kept)
    assert read_contents(url) == kept
    assert connect(url).execute("select name from cohorts").fetchall() == [("kept",)]
