"""Waiting for a condition: the one polling loop of all tests."""

import os
import time
from collections.abc import Callable
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
