"""Connections and transactions; the only place where the cold path commits.

One request, or one phase of a job, is one transaction. What must happen only once it is durable
(ringing a worker) is handed to `after_commit`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

_READ_ONLY = "25006"
"""SQLSTATE of a write on a standby: the primary was demoted, and `SELECT 1` would not notice."""
_ADMIN_SHUTDOWN = "57P01"

_OPTIONS: dict[str, Any] = {
    "pool_pre_ping": True,
    "pool_recycle": 300,
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
