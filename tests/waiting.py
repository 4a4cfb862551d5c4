"""Waiting for a condition: the one polling loop of all tests."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE_S = float(os.environ.get("GRAYLAG_PATIENCE_S", "150"))
"""How long a test waits before it fails. It ends before the timeout of pytest, so that the failure names the condition."""


def wait_until(condition: Callable[[], Result | None], what: str, patience_s: float = PATIENCE_S) -> Result:
    """Call `condition` until its result is true, and return that result.

    Raises:
        AssertionError: the condition has not become true in time; the message names `what` the test waited for.
    """
    deadline = time.monotonic() + patience_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for {what}"
        time.sleep(0.02)
    return result


async def wait_until_async(
    condition: Callable[[], Awaitable[Result | None]], what: str, patience_s: float = PATIENCE_S
) -> Result:
    """Do the same for a condition that is a coroutine function."""
    deadline = time.monotonic() + patience_s
    while not (result := await condition()):
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for {what}"
        await asyncio.sleep(0.02)
    return result
