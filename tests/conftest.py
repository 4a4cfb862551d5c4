"""Real servers, once per run, shared by all test processes; a database reset to its initial state for each test that uses one."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from psycopg import sql

from service.infrastructure.embedded import Endpoints, Stack
from tests.databases import SpareDatabase, administer, database_url, make_template

_KEY = "graylag_endpoints"
# Nothing here outlives the run, so nothing has to survive a power cut. Autovacuum is off too:
# every test gets the query plans of tables without statistics.
_POSTGRES = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_stack = pytest.StashKey[tuple[Stack, Endpoints]]()


def pytest_collection_modifyitems(items):
    """Mark each test that uses a server, so that `make check` can leave it out."""
    for item in items:
        if "endpoints" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.servers)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """In the run's main process: start the servers before the first test process, and tell each where they are."""
    if "not servers" in node.config.option.markexpr:
        return
    if _stack not in node.config.stash:
        node.config.stash[_stack] = _start()
    node.workerinput[_KEY] = json.dumps(asdict(node.config.stash[_stack][1]))


def pytest_unconfigure(config):
    """End what this process started."""
    if _stack in config.stash:
        _stop(config.stash[_stack][0])


@pytest.fixture(scope="session", autouse=True)
def _plain_logs():
    """Tracebacks as text: the default renderer draws every local variable, which takes half a minute each."""
    renderer = structlog.processors.KeyValueRenderer()
    structlog.configure(processors=[structlog.processors.format_exc_info, renderer])


@pytest.fixture(scope="session")
def endpoints(request) -> Iterator[Endpoints]:
    """Where the servers of this run listen."""
    endpoints_json = getattr(request.config, "workerinput", {}).get(_KEY)
    if endpoints_json:
        yield Endpoints(**json.loads(endpoints_json))
        return
    stack, found = _start()
    yield found
    _stop(stack)


@pytest.fixture(scope="session")
def spare_database(endpoints) -> Iterator[SpareDatabase]:
    """The database that this test process resets for each of its tests."""
    spare = SpareDatabase(endpoints)
    yield spare
    spare.close()


@pytest.fixture(name="database_url")
def _database_url(spare_database: SpareDatabase) -> str:
    """A database of this test's own, at the newest schema."""
    return spare_database.renew()


@pytest.fixture
def empty_database_url(endpoints) -> Iterator[str]:
    """A database of this test's own with nothing in it."""
    name = f"empty_{uuid4().hex}"
    with administer(endpoints) as connection:
        connection.execute(f"create database {name}")
    yield database_url(endpoints, name)
    with administer(endpoints) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that other accounts can reach, as PostgreSQL needs when the tests run as root."""
    directory = Path(tempfile.mkdtemp(prefix="graylag test "))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _start() -> tuple[Stack, Endpoints]:
    """The servers; a person's folders have blanks and quotes in their names, so all tests run in one that has."""
    directory = Path(tempfile.mkdtemp(prefix="graylag 'servers' "))
    stack = Stack(directory, postgres=_POSTGRES).__enter__()
    try:
        found = stack.start_servers()
        _make_log_in_cheap(found)
        make_template(found)
    except BaseException:
        _stop(stack)
        raise
    return stack, found


def _stop(stack: Stack) -> None:
    stack.stop()
    stack.remove()
    shutil.rmtree(stack.directory, ignore_errors=True)


def _make_log_in_cheap(endpoints: Endpoints) -> None:
    """The password derived in one round instead of thousands: each test connects several times."""
    password = endpoints.database_url.split(":")[2].split("@")[0]
    with administer(endpoints) as connection:
        connection.execute("set scram_iterations = 1")
        connection.execute(sql.SQL("alter role graylag password {}").format(password))
