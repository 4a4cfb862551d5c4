"""The clock: a function that returns the current time; tests and simulations pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current time, with its zone."""
    return datetime.now(UTC)
