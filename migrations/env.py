"""The environment in which Alembic runs: the URL from the settings, the target schema from `service.store`."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, text

from service.config import settings
from service.store import Table

MIGRATION_LOCK = 7_263_514_001
"""Advisory lock that makes concurrent migrations wait for each other."""


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Ignore the daily partitions of `events`, which the service creates."""
    return not (kind == "table" and name is not None and name.startswith("events_"))


def run() -> None:
    """Run the migrations on one connection under the lock, waiting at most 10 s for any table."""
    engine = create_engine(context.config.get_main_option("sqlalchemy.url") or settings().database_url)
    with engine.connect() as connection:
        connection.execute(text("set lock_timeout = '10s'"))
        connection.execute(text(f"select pg_advisory_lock({MIGRATION_LOCK})"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Table.metadata,
            include_name=include_name,
            compare_server_default=False,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    engine.dispose()


run()
