"""Batches concurrent reads: requests that arrive while one round trip is under way share the next one.

Like `write_batcher`, but for reads and for writes that may be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

ReadAll = Callable[[Sequence[Key]], Awaitable[Sequence[Value]]]
"""Reads a batch, one value for each key, in order."""


class ReadBatcher(Generic[Key, Value]):
    """Batches reads of one kind; one instance per kind and process."""

    def __init__(self, read_all: ReadAll[Key, Value], *, max_batch: int = 500) -> None:
        """Read with `read_all`, at most `max_batch` keys at a time."""
        self._read_all = read_all
        self._max_batch = max_batch
        self._waiting: list[tuple[Key, asyncio.Future[Value]]] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, key: Key) -> Value:
        """The value of `key`; an exception of `read_all` reaches every caller of the batch."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
                await self._resolve(batch)
        finally:
            self._task = None

    async def _resolve(self, batch: Sequence[tuple[Key, asyncio.Future[Value]]]) -> None:
        try:
            values = await self._read_all([key for key, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), value in zip(batch, values, strict=True):
                if not future.done():
                    future.set_result(value)
