"""Where benchmarks run: real servers for as long as they last, and the real application over a filled database."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

import migrations
from service import database, signing
from service.cli.bench.fleet import Handset
from service.cli.bench.world import Scale, fill
from service.config import Settings
from service.domain.load import Load
from service.embedded import Endpoints, Stack
from service.main import create_app
from service.tokens import Clock, utc_now

SECRET = "the benchmark's own secret, 32 bytes or more"  # noqa: S105 - guards nothing but this run


@contextmanager
def servers(**postgres: str) -> Iterator[tuple[Path, Endpoints]]:
    """PostgreSQL, Valkey and SeaweedFS in a directory that goes with them; `postgres` are settings of the first."""
    directory = Path(tempfile.mkdtemp(prefix="graylag-bench-"))
    directory.chmod(0o755)
    try:
        with Stack(directory, postgres={"shared_buffers": "256MB"} | postgres) as stack:
            yield directory, stack.start_servers()
            stack.stop()
            stack.remove()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def filled(endpoints: Endpoints, directory: Path, scale: Scale, handsets: Sequence[Handset]) -> Settings:
    """A database of its own with a world of that scale; the settings of an API over it."""
    url = empty_database(endpoints, f"bench_{scale.rollouts}")
    engine = database.engine_for(url)
    try:
        fill(engine, scale, handsets)
    finally:
        engine.dispose()
    return settings_for(endpoints, url, directory)


def empty_database(endpoints: Endpoints, name: str) -> str:
    """A database at the newest schema; its URL."""
    base = endpoints.database_url.rsplit("/", 1)[0]
    with psycopg.connect(base.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrations.upgrade(f"{base}/{name}")
    return f"{base}/{name}"


def settings_for(endpoints: Endpoints, url: str, directory: Path) -> Settings:
    """The settings of an API over a database, with a key of its own and no limits that a benchmark would reach."""
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
        rate_per_address="1000000/second",
        rate_per_device="1000/second",
    )


def environment(settings: Settings) -> dict[str, str]:
    """Settings of the benchmark as another process reads them."""
    told = (
        "database_url",
        "s3_endpoint",
        "s3_public_endpoint",
        "director_key",
        "rate_per_address",
        "rate_per_device",
        "drain_s",
    )
    plain = {name: str(getattr(settings, name)) for name in told}
    secret = ("redis_url", "s3_access_key", "s3_secret_key", "access_token_secret")
    hidden = {name: getattr(settings, name).get_secret_value() for name in secret}
    more = {"log_level": "warning"}
    return {f"GRAYLAG_{name.upper()}": value for name, value in (plain | hidden | more).items()}


@asynccontextmanager
async def running(settings: Settings, clock: Clock = utc_now) -> AsyncIterator[Any]:
    """The application between its start and its end."""
    app = create_app(settings, clock)
    async with app.router.lifespan_context(app):
        # As many requests at once as here make any process late; what is measured is their work.
        app.state.process.pressure.pin(Load())
        yield app
