"""A clean database for each test: one per test process, emptied and renamed before each test.

Emptying it costs about a tenth of copying the template. After a test that changed the schema or the statistics of the
planner, the next test starts from a copy of the template.
"""

from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg import sql

import migrations
from service.infrastructure.embedded import Endpoints

TEMPLATE = "graylag_template"

_COUNT_SCHEMA_CHANGES = """
create sequence schema_changes;
create function count_schema_change() returns event_trigger language plpgsql as
    $$ begin perform nextval('schema_changes'); end $$;
create event trigger count_schema_changes on ddl_command_end execute function count_schema_change();
"""

_HAS_CHANGED = """
select (select is_called from schema_changes)
    or exists (select from pg_statistic s join pg_class c on c.oid = s.starelid
               where c.relnamespace = 'public'::regnamespace)
"""

# Deleting is faster for small tables. Large ones are truncated, so that their size does not slow down later tests.
_EMPTY = """
set session_replication_role = replica;
do $$
declare found record; large text;
begin
    for found in
        select oid::regclass as name, pg_relation_size(oid) as size from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace and pg_relation_size(oid) > 0
    loop
        if found.size > 1000000 then large := concat_ws(', ', large, found.name);
        else execute format('delete from %s', found.name); end if;
    end loop;
    if large is not null then execute 'truncate ' || large || ' cascade'; end if;
    perform setval(format('%I', sequencename)::regclass, start_value, false)
        from pg_sequences where schemaname = 'public' and last_value is not null;
end $$;
"""

_NON_EMPTY_TABLES = """
select c.relname from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
    and pg_relation_size(c.oid) > 0
"""
_USED_SEQUENCES = (
    "select sequencename, last_value from pg_sequences where schemaname = 'public' and last_value is not null"
)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a database: rows by table, and the last value of each sequence."""

    rows: dict[str, bytes]
    sequences: dict[str, int]


def make_template(endpoints: Endpoints) -> None:
    """Create the template: the newest schema, and a counter of schema changes."""
    with administer(endpoints) as connection:
        connection.execute(f"create database {TEMPLATE}")
    url = database_url(endpoints, TEMPLATE)
    migrations.upgrade(url)
    with _connect(url) as connection:
        connection.execute(_COUNT_SCHEMA_CHANGES)


@dataclass
class SpareDatabase:
    """The database of a test process."""

    endpoints: Endpoints
    _name: str | None = None
    _initial: Contents | None = None
    _admin: psycopg.Connection = field(init=False)

    def __post_init__(self):
        self._admin = administer(self.endpoints)

    @property
    def url(self) -> str:
        assert self._name is not None, "no test has asked for the database yet"
        return database_url(self.endpoints, self._name)

    def renew(self) -> str:
        """Reset the database to its state after the migrations, under a new name; return its URL."""
        if self._name is None or not self._empty():
            self._copy_template()
        return self.url

    def close(self) -> None:
        self._drop()
        self._admin.close()

    def _empty(self) -> bool:
        try:
            self._disconnect_clients()
            fresh = f"test_{uuid4().hex}"
            self._admin.execute(f"alter database {self._name} rename to {fresh}")
            self._name = fresh
            with _connect(self.url) as connection:
                changed = connection.execute(_HAS_CHANGED).fetchone()
                if changed != (False,) or self._initial is None:
                    return False
                connection.execute(_EMPTY)
                restore(connection, self._initial)
        except psycopg.OperationalError:
            # A test made it unavailable and did not restore it.
            return False
        return True

    def _disconnect_clients(self) -> None:
        """Disconnect clients that the last test left behind."""
        self._admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [self._name]
        )

    def _copy_template(self) -> None:
        self._drop()
        self._name = f"test_{uuid4().hex}"
        self._admin.execute(f"create database {self._name} template {TEMPLATE} strategy file_copy")
        with _connect(self.url) as connection:
            self._initial = contents(connection)

    def _drop(self) -> None:
        if self._name is not None:
            self._admin.execute(f"drop database {self._name} with (force)")


def database_url(endpoints: Endpoints, name: str) -> str:
    """The URL of a database with that name, as in the settings."""
    return endpoints.database_url.rsplit("/", 1)[0] + f"/{name}"


def administer(endpoints: Endpoints) -> psycopg.Connection:
    """A connection that can create and drop databases."""
    return _connect(database_url(endpoints, "postgres"))


def read_contents(url: str) -> Contents:
    """The contents of the database at a URL."""
    with _connect(url) as connection:
        return contents(connection)


def write_contents(url: str, saved: Contents) -> None:
    """Replace the contents of a database."""
    with _connect(url) as connection:
        connection.execute(_EMPTY)
        restore(connection, saved)


def contents(connection: psycopg.Connection) -> Contents:
    rows = {}
    with connection.cursor() as cursor:
        for (table,) in cursor.execute(_NON_EMPTY_TABLES).fetchall():
            with cursor.copy(sql.SQL("copy {} to stdout").format(sql.Identifier(table))) as copy:
                rows[table] = b"".join(bytes(block) for block in copy)
        filled = {table: found for table, found in rows.items() if found}
        return Contents(filled, dict(cursor.execute(_USED_SEQUENCES).fetchall()))


def restore(connection: psycopg.Connection, saved: Contents) -> None:
    """Fill emptied tables without triggers and foreign keys, because the rows are consistent already."""
    with connection.cursor() as cursor:
        cursor.execute("set session_replication_role = replica")
        for table, rows in saved.rows.items():
            with cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier(table))) as copy:
                copy.write(rows)
        for name, last in saved.sequences.items():
            cursor.execute("select setval(%s::regclass, %s)", [name, last])


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
