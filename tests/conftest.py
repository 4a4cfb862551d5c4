"""Real servers, once per run, shared by all test processes; a fresh database for each test that asks."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import structlog

import migrations
from service.embedded import Endpoints, Stack

TEMPLATE = "graylag_template"
_KEY = "graylag_endpoints"
_stack = pytest.StashKey[tuple[Stack, Endpoints]]()


def pytest_collection_modifyitems(items):
    """Whoever asks for a server is marked, so that `make check` can leave it out."""
    for item in items:
        if "endpoints" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.servers)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """In the run's main process: start the servers before the first test process, and tell each where they are."""
    if node.config.option.markexpr == "not servers":
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
    told = getattr(request.config, "workerinput", {}).get(_KEY)
    if told:
        yield Endpoints(**json.loads(told))
        return
    stack, found = _start()
    yield found
    _stop(stack)


@pytest.fixture
def database_url(endpoints) -> Iterator[str]:
    """A database of this test's own, at the newest schema."""
    name = f"test_{uuid4().hex}"
    with _administer(endpoints) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
    yield endpoints.database_url.rsplit("/", 1)[0] + f"/{name}"
    with _administer(endpoints) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def empty_database_url(endpoints) -> Iterator[str]:
    """A database of this test's own with nothing in it."""
    name = f"empty_{uuid4().hex}"
    with _administer(endpoints) as connection:
        connection.execute(f"create database {name}")
    yield endpoints.database_url.rsplit("/", 1)[0] + f"/{name}"
    with _administer(endpoints) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that other accounts can reach, as PostgreSQL needs when the tests run as root."""
    directory = Path(tempfile.mkdtemp(prefix="graylag-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _start() -> tuple[Stack, Endpoints]:
    directory = Path(tempfile.mkdtemp(prefix="graylag-servers-"))
    # Nothing here outlives the run, so nothing has to survive a power cut.
    stack = Stack(directory, postgres={"fsync": "off", "full_page_writes": "off"}).__enter__()
    try:
        found = stack.start_servers()
        with _administer(found) as connection:
            connection.execute(f"create database {TEMPLATE}")
        migrations.upgrade(found.database_url.rsplit("/", 1)[0] + f"/{TEMPLATE}")
    except BaseException:
        _stop(stack)
        raise
    return stack, found


def _stop(stack: Stack) -> None:
    stack.stop()
    stack.remove()
    shutil.rmtree(stack.directory, ignore_errors=True)


def _administer(endpoints: Endpoints) -> psycopg.Connection:
    url = endpoints.database_url.replace("+psycopg", "").rsplit("/", 1)[0]
    return psycopg.connect(f"{url}/postgres", autocommit=True)
