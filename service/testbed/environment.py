"""Temporary servers with a populated database, and the real application on top of them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

import migrations
from service.config import Settings
from service.domain.platform.load import Load
from service.infrastructure import database, signing
from service.infrastructure.clock import Clock, utc_now
from service.infrastructure.embedded import Endpoints, Stack
from service.main import create_app
from service.testbed.dataset import DatasetSize, populate
from service.testbed.devices import SyntheticDevice

SECRET = "the testbed's own secret, 32 bytes or more"  # noqa: S105 - guards nothing but this run


@contextmanager
def temporary_servers(**postgres_settings: str) -> Iterator[tuple[Path, Endpoints]]:
    """Run PostgreSQL, Valkey and SeaweedFS in a temporary directory, which is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="graylag-testbed-"))
    # PostgreSQL refuses to run as root, so its own account must be able to enter the directory.
    directory.chmod(0o755)
    try:
        with Stack(directory, postgres={"shared_buffers": "256MB"} | postgres_settings) as stack:
            yield directory, stack.start_servers()
            stack.stop()
            stack.remove()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def populated_api_settings(
    endpoints: Endpoints, directory: Path, size: DatasetSize, devices: Sequence[SyntheticDevice]
) -> Settings:
    """Create and populate a database; return the settings of an API that uses it."""
    url = create_empty_database(endpoints, f"bench_{size.rollouts}")
    engine = database.engine_for(url)
    try:
        populate(engine, size, devices)
    finally:
        engine.dispose()
    return api_settings(endpoints, url, directory)


def create_empty_database(endpoints: Endpoints, name: str) -> str:
    """Create a database with the current schema and no rows; return its URL."""
    base = endpoints.database_url.rsplit("/", 1)[0]
    with psycopg.connect(base.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrations.upgrade(f"{base}/{name}")
    return f"{base}/{name}"


def api_settings(endpoints: Endpoints, url: str, directory: Path) -> Settings:
    """Settings of an API with a director key of its own, and rate limits that no benchmark reaches.

    Args:
        endpoints: the temporary servers.
        url: of the database.
        directory: where the director key is written.
    """
    key = directory / "director.pem"
    if not key.exists():
        signing.create_key(key)
    return Settings(
        database_url=url,
        redis_url=SecretStr(endpoints.redis_url),
        s3_endpoint=endpoints.s3_endpoint,
        s3_public_endpoint=endpoints.s3_endpoint,
        s3_access_key=SecretStr(endpoints.s3_access_key),
        s3_secret_key=SecretStr(endpoints.s3_secret_key),
        director_key=f"file:{key}",
        access_token_secret=SecretStr(SECRET),
        rate_limit_per_address="1000000/second",
        rate_limit_per_device="1000/second",
    )


def environment_variables(settings: Settings) -> dict[str, str]:
    """The `GRAYLAG_*` variables that give another process the same settings."""
    plain_names = (
        "database_url",
        "s3_endpoint",
        "s3_public_endpoint",
        "director_key",
        "rate_limit_per_address",
        "rate_limit_per_device",
        "drain_s",
    )
    secret_names = ("redis_url", "s3_access_key", "s3_secret_key", "access_token_secret")
    plain = {name: str(getattr(settings, name)) for name in plain_names}
    secrets = {name: getattr(settings, name).get_secret_value() for name in secret_names}
    variables = plain | secrets | {"log_level": "warning"}
    return {f"GRAYLAG_{name.upper()}": value for name, value in variables.items()}


@asynccontextmanager
async def running_app(settings: Settings, clock: Clock = utc_now) -> AsyncIterator[Any]:
    """Run the application in this process, without sockets and without load shedding."""
    app = create_app(settings, clock)
    async with app.router.lifespan_context(app):
        # The callers send hundreds of requests at once, which the load monitor would take for an overload.
        app.state.process.load_monitor.override(Load())
        yield app
