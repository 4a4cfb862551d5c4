"""Many requests, one transaction: whoever arrives while a commit is under way shares the next one.

Nobody waits for a timer: an idle server commits at once, a busy one in batches as long as a commit
takes. Each caller gets its own result after the commit. If a batch fails, its members are tried
one by one, so that a poison row fails alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.errors import Unavailable
from service.observability import log

T = TypeVar("T")
R = TypeVar("R")

Write = Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[R]]]
"""Writes a batch and returns one result for each member, in order."""

RETRY_AFTER_S = 5
MAX_COLLISIONS = 3
_COLLISIONS = ("40P01", "40001")
"""SQLSTATE of a deadlock and of a serialisation failure: nothing was written, and nobody is at fault."""


async def commit(engine: AsyncEngine, write: Write[T, R], items: Sequence[T]) -> Sequence[R]:
    """Write `items` in one transaction; the results count once this returns.

    Processes that write the same rows in another order may end in a deadlock: PostgreSQL lets one of them fail, and
    that one writes again.
    """
    for _ in range(MAX_COLLISIONS):
        try:
            async with engine.begin() as connection:
                return await write(connection, items)
        except DBAPIError as error:
            if not _collided(error):
                raise
            log("group_commit").warning("commit.collided", members=len(items))
    async with engine.begin() as connection:
        return await write(connection, items)


class GroupCommit(Generic[T, R]):
    """A queue in front of one kind of write."""

    def __init__(
        self, engine: AsyncEngine, write: Write[T, R], *, max_batch: int = 500, max_waiting: int = 5000
    ) -> None:
        """Bound the batch and the queue; `run` does the work."""
        self._engine = engine
        self._write = write
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._arrived = asyncio.Event()

    async def submit(self, item: T) -> R:
        """Hand one item in and wait until it is durable.

        Raises:
            Unavailable: the queue is full, or the database is away.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable("too much is waiting to be written", retry_after_s=RETRY_AFTER_S)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Commit batch after batch until cancelled."""
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            if not self._waiting:
                self._arrived.clear()
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await commit(self._engine, self._write, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - no row whatever may end the loop that serves all others
            if len(batch) == 1 or is_away(error):
                _refuse(batch, error)
                return
            for member in batch:
                await self._settle([member])
        except BaseException as error:
            _refuse(batch, error)
            raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _collided(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _COLLISIONS


def is_away(error: Exception) -> bool:
    """Whether the database, not one of the rows, is at fault."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError)


def _refuse(batch: Sequence[tuple[T, asyncio.Future[R]]], error: BaseException) -> None:
    refusal: Exception = Unavailable("the database does not answer", retry_after_s=RETRY_AFTER_S)
    if isinstance(error, Exception) and not is_away(error):
        refusal = error
    for _, future in batch:
        if not future.done():
            future.set_exception(refusal)
