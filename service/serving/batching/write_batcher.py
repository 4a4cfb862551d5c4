"""Group commit: writes that arrive while a commit is under way share the next transaction.

No timer: an idle server commits at once, a busy one in batches as large as what arrives during a commit. Every caller gets
its own result after the commit. If a batch fails, its members are written one by one, so that a bad row fails alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.errors import Unavailable
from service.infrastructure.observability import log

Item = TypeVar("Item")
Result = TypeVar("Result")

Write = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result]]]
"""Writes a batch and returns one result per item, in order."""

RETRY_AFTER_S = 5
MAX_RETRIES = 3
_CONFLICT_STATES = ("40P01", "40001")
"""SQLSTATE of a deadlock and of a serialization failure: nothing was written, and a retry may succeed."""


async def commit_batch(
    engine: AsyncEngine, write: Write[Item, Result], items: Sequence[Item]
) -> Sequence[Result]:
    """Write `items` in one transaction; they are durable once this returns.

    Two processes that write the same rows may deadlock. PostgreSQL makes one of them fail, and this function retries it.

    Raises:
        DBAPIError: the write failed for another reason, or conflicted `MAX_RETRIES` times and once more.
    """
    for _ in range(MAX_RETRIES):
        try:
            async with engine.begin() as connection:
                return await write(connection, items)
        except DBAPIError as error:
            if not _is_conflict(error):
                raise
            log("write_batcher").warning("write_conflict.retried", items=len(items))
    async with engine.begin() as connection:
        return await write(connection, items)


class WriteBatcher(Generic[Item, Result]):
    """Batches writes of one kind; one instance per kind and process."""

    def __init__(
        self,
        engine: AsyncEngine,
        write: Write[Item, Result],
        *,
        max_batch: int = 500,
        max_waiting: int = 5000,
    ) -> None:
        """Start empty; `run` writes.

        Args:
            engine: the database.
            write: writes a batch.
            max_batch: how many items to write in one transaction at most.
            max_waiting: how many items may wait; more are refused.
        """
        self._engine = engine
        self._write = write
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._arrived = asyncio.Event()

    async def submit(self, item: Item) -> Result:
        """Write one item, and wait until it is durable.

        Raises:
            Unavailable: the queue is full, or the database is down.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable(
                "the write queue is full; send the request again later", retry_after_s=RETRY_AFTER_S
            )
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Write batch after batch until canceled."""
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            if not self._waiting:
                self._arrived.clear()
            await self._resolve(batch)

    async def _resolve(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await commit_batch(self._engine, self._write, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - one bad row must not stop the loop
            if len(batch) == 1 or is_unavailable(error):
                _fail(batch, error)
                return
            for waiting in batch:
                await self._resolve([waiting])
        except BaseException as error:
            _fail(batch, error)
            raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _is_conflict(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES


def is_unavailable(error: Exception) -> bool:
    """Whether the database is unavailable, rather than a row invalid."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError)


def _fail(batch: Sequence[tuple[Item, asyncio.Future[Result]]], error: BaseException) -> None:
    failure: Exception = Unavailable(
        "the database does not answer; send the request again later", retry_after_s=RETRY_AFTER_S
    )
    if isinstance(error, Exception) and not is_unavailable(error):
        failure = error
    for _, future in batch:
        if not future.done():
            future.set_exception(failure)
