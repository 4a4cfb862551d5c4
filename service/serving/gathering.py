"""Many questions, one round trip: whoever asks while one is under way shares the next one.

As `group_commit`, for questions that change nothing that must last: a key looked up, a proof remembered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

AskAll = Callable[[Sequence[Q]], Awaitable[Sequence[A]]]
"""Answers a batch, one answer for each question, in order."""


class Gathered(Generic[Q, A]):
    """One kind of question."""

    def __init__(self, ask_all: AskAll[Q, A], *, max_batch: int = 500) -> None:
        """Ask with `ask_all`, at most `max_batch` at a time."""
        self._ask_all = ask_all
        self._max_batch = max_batch
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer; what `ask_all` raises is raised to all that asked together."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._asking is None:
            self._asking = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
                await self._settle(batch)
        finally:
            self._asking = None

    async def _settle(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._ask_all([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who asked
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
