"""A database for each test, as good as new: one per test process, emptied, and under another name each time.

Copying the template costs some ten times as much as emptying what the last test wrote. Whatever a test does to
the schema or to the planner's statistics makes the next one start from a copy of the template again.
"""

from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg import sql

import migrations
from service.embedded import Endpoints

TEMPLATE = "graylag_template"

_WATCH = """
create sequence schema_changes;
create function count_schema_change() returns event_trigger language plpgsql as
    $$ begin perform nextval('schema_changes'); end $$;
create event trigger count_schema_changes on ddl_command_end execute function count_schema_change();
"""

_IS_ALTERED = """
select (select is_called from schema_changes)
    or exists (select from pg_statistic s join pg_class c on c.oid = s.starelid
               where c.relnamespace = 'public'::regnamespace)
"""

# Small tables are deleted from, which is quicker; large ones are cut off, so that no test pays for the last one's size.
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

_FILLED = """
select c.relname from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
    and pg_relation_size(c.oid) > 0
"""
_USED = (
    "select sequencename, last_value from pg_sequences where schemaname = 'public' and last_value is not null"
)


@dataclass(frozen=True, slots=True)
class Contents:
    """All that lies in a database: rows by table, and how far its sequences have come."""

    rows: dict[str, bytes]
    sequences: dict[str, int]


def make_template(endpoints: Endpoints) -> None:
    """The newest schema, with a count of the changes that are made to it."""
    with administer(endpoints) as connection:
        connection.execute(f"create database {TEMPLATE}")
    url = database_url(endpoints, TEMPLATE)
    migrations.upgrade(url)
    with _connect(url) as connection:
        connection.execute(_WATCH)


@dataclass
class SpareDatabase:
    """The database of one test process."""

    endpoints: Endpoints
    _name: str | None = None
    _ground: Contents | None = None
    _admin: psycopg.Connection = field(init=False)

    def __post_init__(self):
        self._admin = administer(self.endpoints)

    @property
    def url(self) -> str:
        return database_url(self.endpoints, self._name)

    def renew(self) -> str:
        """The database as it is after all migrations, under a name that nobody knows yet; its URL."""
        if self._name is None or not self._emptied():
            self._copy_template()
        return self.url

    def close(self) -> None:
        self._drop()
        self._admin.close()

    def _emptied(self) -> bool:
        try:
            self._send_away()
            fresh = f"test_{uuid4().hex}"
            self._admin.execute(f"alter database {self._name} rename to {fresh}")
            self._name = fresh
            with _connect(self.url) as connection:
                if connection.execute(_IS_ALTERED).fetchone()[0]:
                    return False
                connection.execute(_EMPTY)
                put_back(connection, self._ground)
        except psycopg.OperationalError:
            # A test took it out of service, and did not live to put it back.
            return False
        return True

    def _send_away(self) -> None:
        """Whoever the last test left behind: nobody may write into the next one's."""
        self._admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [self._name]
        )

    def _copy_template(self) -> None:
        self._drop()
        self._name = f"test_{uuid4().hex}"
        self._admin.execute(f"create database {self._name} template {TEMPLATE} strategy file_copy")
        with _connect(self.url) as connection:
            self._ground = contents(connection)

    def _drop(self) -> None:
        if self._name is not None:
            self._admin.execute(f"drop database {self._name} with (force)")


def database_url(endpoints: Endpoints, name: str) -> str:
    """Where a database of this name is, as settings have it."""
    return endpoints.database_url.rsplit("/", 1)[0] + f"/{name}"


def administer(endpoints: Endpoints) -> psycopg.Connection:
    """A connection that makes and drops databases."""
    return _connect(database_url(endpoints, "postgres"))


def read_contents(url: str) -> Contents:
    """What lies in a database."""
    with _connect(url) as connection:
        return contents(connection)


def write_contents(url: str, held: Contents) -> None:
    """Make a new database's contents these."""
    with _connect(url) as connection:
        connection.execute(_EMPTY)
        put_back(connection, held)


def contents(connection: psycopg.Connection) -> Contents:
    rows = {}
    with connection.cursor() as cursor:
        for (table,) in cursor.execute(_FILLED).fetchall():
            with cursor.copy(sql.SQL("copy {} to stdout").format(sql.Identifier(table))) as copy:
                rows[table] = b"".join(bytes(block) for block in copy)
        held = {table: found for table, found in rows.items() if found}
        return Contents(held, dict(cursor.execute(_USED).fetchall()))


def put_back(connection: psycopg.Connection, held: Contents) -> None:
    """Fill emptied tables; the rows belong together, so no trigger and no key is asked."""
    with connection.cursor() as cursor:
        cursor.execute("set session_replication_role = replica")
        for table, rows in held.rows.items():
            with cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier(table))) as copy:
                copy.write(rows)
        for name, last in held.sequences.items():
            cursor.execute("select setval(%s::regclass, %s)", [name, last])


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
