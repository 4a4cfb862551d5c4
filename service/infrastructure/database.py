"""Connections and transactions; the only module that commits outside the hot path.

One request, or one phase of a job, is one transaction. Actions that must follow the commit, such as notifying a worker, are
passed to `after_commit`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

_READ_ONLY_TRANSACTION = "25006"
"""SQLSTATE of a write on a standby. After a failover the old primary still answers `SELECT 1`."""
_ADMIN_SHUTDOWN = "57P01"

RECYCLE_S = 300
_OPTIONS: dict[str, Any] = {
    "pool_pre_ping": True,
    "pool_recycle": RECYCLE_S,
    "pool_size": 10,
    "max_overflow": 10,
    "pool_timeout": 5,
}
_REQUEST_TIMEOUTS = {"statement_timeout": "120s", "lock_timeout": "10s"}
_EVENT_LOOP_TIMEOUTS = {"statement_timeout": "5s", "lock_timeout": "2s"}
"""Short, so that a row that is locked for long fails one batch instead of delaying all queued devices."""


def engine_for(url: str) -> Engine:
    """A connection pool for API handlers in threads, and for jobs."""
    engine = create_engine(url, connect_args=_connect_args(_REQUEST_TIMEOUTS), **_OPTIONS)
    event.listen(engine, "handle_error", _disconnect_if_demoted)
    return engine


def async_engine_for(url: str) -> AsyncEngine:
    """A connection pool for the hot path, which runs in the event loop of an API process."""
    engine = create_async_engine(url, connect_args=_connect_args(_EVENT_LOOP_TIMEOUTS), **_OPTIONS)
    event.listen(engine.sync_engine, "handle_error", _disconnect_if_demoted)
    return engine


class SingleConnection:
    """A connection for small queries that run all the time, one after the other, in the event loop.

    A pool would ping, begin and roll back, which takes ten times the processor time of such a query. Here a query is one
    round trip. A broken connection is opened again, once per query.
    """

    def __init__(self, url: str) -> None:
        """Prepare a connection to an SQLAlchemy `url`; the first query opens it."""
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._expires_at = 0.0

    async def fetch_all(self, query: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a query and return all rows.

        Args:
            query: with `%s` for each of `values`; it must not write.
            values: the parameters.

        Raises:
            psycopg.Error, OSError: the database is unavailable, or the query is invalid.
        """
        connection, fresh = await self._open()
        try:
            return await self._execute(connection, query, values)
        except psycopg.OperationalError:
            await self.aclose()
            if fresh:
                raise
        connection, _ = await self._open()
        return await self._execute(connection, query, values)

    async def aclose(self) -> None:
        """Close the connection; the next query opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> tuple[psycopg.AsyncConnection[tuple[Any, ...]], bool]:
        # Like a pool, so that a moved database is found after some minutes.
        if self._connection is not None and time.monotonic() < self._expires_at:
            return self._connection, False
        await self.aclose()
        options: dict[str, Any] = _connect_args(_EVENT_LOOP_TIMEOUTS)
        self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **options)
        self._expires_at = time.monotonic() + RECYCLE_S
        return self._connection, True

    @staticmethod
    async def _execute(
        connection: psycopg.AsyncConnection[tuple[Any, ...]], query: LiteralString, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(query, values, prepare=True, binary=True)
        return await cursor.fetchall()


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A transaction that is committed when the block ends, and rolled back when it raises.

    Callbacks passed to `after_commit` run after the commit, in order.
    """
    with Session(engine, expire_on_commit=False) as session:
        yield session
        session.commit()
        for callback in session.info.pop("after_commit", []):
            callback()


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """A consistent snapshot that cannot write."""
    with Session(engine, expire_on_commit=False) as session:
        session.connection(
            execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        )
        yield session


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Run `callback` after the commit of the transaction; never if it is rolled back."""
    session.info.setdefault("after_commit", []).append(callback)


def try_advisory_lock(session: Session, lock: int) -> bool:
    """Take an advisory lock until the end of the transaction; return False if another transaction holds it."""
    return bool(session.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": lock}))


def _connect_args(timeouts: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a connection with timeouts."""
    settings = {"timezone": "UTC", "idle_in_transaction_session_timeout": "60s", **timeouts}
    return {
        "connect_timeout": 5,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }


def _disconnect_if_demoted(context: ExceptionContext) -> None:
    """Treat a read-only or closing server as disconnected, so that the pool drops the connection."""
    if getattr(context.original_exception, "sqlstate", None) in (_READ_ONLY_TRANSACTION, _ADMIN_SHUTDOWN):
        context.is_disconnect = True
