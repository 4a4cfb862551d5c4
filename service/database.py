"""Connections and transactions; the only place where the cold path commits.

One request, or one phase of a job, is one transaction. What must happen only once it is durable
(ringing a worker) is handed to `after_commit`.
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

_READ_ONLY = "25006"
"""SQLSTATE of a write on a standby: the primary was demoted, and `SELECT 1` would not notice."""
_ADMIN_SHUTDOWN = "57P01"

RECYCLE_S = 300
_OPTIONS: dict[str, Any] = {
    "pool_pre_ping": True,
    "pool_recycle": RECYCLE_S,
    "pool_size": 10,
    "max_overflow": 10,
    "pool_timeout": 5,
}
_COLD = {"statement_timeout": "120s", "lock_timeout": "10s"}
_HOT = {"statement_timeout": "5s", "lock_timeout": "2s"}
"""Devices wait in one queue: who holds a row for long gets one batch refused, and not all of them stuck."""


def engine_for(url: str) -> Engine:
    """A pool for the cold path: API handlers in threads, and jobs."""
    engine = create_engine(url, connect_args=_connection(_COLD), **_OPTIONS)
    event.listen(engine, "handle_error", _drop_demoted)
    return engine


def async_engine_for(url: str) -> AsyncEngine:
    """A pool for the hot path: the event loop of one API process."""
    engine = create_async_engine(url, connect_args=_connection(_HOT), **_OPTIONS)
    event.listen(engine.sync_engine, "handle_error", _drop_demoted)
    return engine


class Reader:
    """One connection of the event loop for small questions that are asked all the time, one after the other.

    A pool's way (look whether the connection lives, begin, ask, roll back) takes ten times the processor time of the
    question. Here it is one round trip; a connection that broke is opened anew, once for each question.
    """

    def __init__(self, url: str) -> None:
        """Ask the database at `url`, as SQLAlchemy writes it; nothing is opened yet."""
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._ends = 0.0

    async def rows(self, query: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What the query finds.

        Args:
            query: with `%s` for each of `values`; it must not write.
            values: what stands in the places.

        Raises:
            psycopg.Error, OSError: the database is away, or the query is wrong.
        """
        connection, fresh = await self._open()
        try:
            return await self._ask(connection, query, values)
        except psycopg.OperationalError:
            await self.aclose()
            if fresh:
                raise
        connection, _ = await self._open()
        return await self._ask(connection, query, values)

    async def aclose(self) -> None:
        """Let go of the connection; the next question opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> tuple[psycopg.AsyncConnection[tuple[Any, ...]], bool]:
        # As in a pool: whoever moved the database is followed after some minutes.
        if self._connection is not None and time.monotonic() < self._ends:
            return self._connection, False
        await self.aclose()
        options: dict[str, Any] = _connection(_HOT)
        self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **options)
        self._ends = time.monotonic() + RECYCLE_S
        return self._connection, True

    @staticmethod
    async def _ask(
        connection: psycopg.AsyncConnection[tuple[Any, ...]], query: LiteralString, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(query, values, prepare=True, binary=True)
        return await cursor.fetchall()


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One unit of work: committed when the block ends, rolled back when it raises.

    Callbacks given to `after_commit` run after the commit, in order.
    """
    with Session(engine, expire_on_commit=False) as session:
        yield session
        session.commit()
        for callback in session.info.pop("after_commit", []):
            callback()


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """A consistent view that cannot write."""
    with Session(engine, expire_on_commit=False) as session:
        session.connection(
            execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        )
        yield session


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Run `callback` once the surrounding transaction is durable; never if it is rolled back."""
    session.info.setdefault("after_commit", []).append(callback)


def alone(session: Session, lock: int) -> bool:
    """Whether no other transaction holds this advisory lock; ours holds it until it ends."""
    return bool(session.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": lock}))


def _connection(bounds: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of a connection on which nothing takes for ever."""
    settings = {"timezone": "UTC", "idle_in_transaction_session_timeout": "60s", **bounds}
    return {
        "connect_timeout": 5,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }


def _drop_demoted(context: ExceptionContext) -> None:
    """Treat a read-only or closing server as a lost connection, so that the pool lets go of it."""
    if getattr(context.original_exception, "sqlstate", None) in (_READ_ONLY, _ADMIN_SHUTDOWN):
        context.is_disconnect = True
