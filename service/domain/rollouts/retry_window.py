"""When a refused device should poll again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_POLL_LATENESS = 0.2
"""Devices may wait up to this share longer than `next_poll_s` (see "Time" in the contract)."""


@dataclass(frozen=True, slots=True)
class RetryWindow:
    """The next time at which a poll may get an offer.

    Attributes:
        opens_at: when the window opens.
        duration: how long it stays open.
    """

    opens_at: datetime
    duration: timedelta


def retry_delay_s(window: RetryWindow, now: datetime, poll_interval_s: float, chance: float) -> float:
    """Return the seconds after which a device should poll, so that it finds the window open and the fleet is spread.

    The delay is never longer than the poll interval, so that the device still learns of other changes. If the device
    could be late by more than the window's duration, it polls once before, when its lateness is smaller.

    Args:
        window: the window that the device waits for.
        now: the current time.
        poll_interval_s: the usual seconds between polls.
        chance: random number from 0 to 1, drawn for this poll.
    """
    wait_s = max(0.0, (window.opens_at - now).total_seconds())
    duration_s = window.duration.total_seconds()
    spread_s = (duration_s - MAX_POLL_LATENESS * wait_s) / (1 + MAX_POLL_LATENESS)
    if spread_s < duration_s / 4:
        return min(poll_interval_s, wait_s * (1 - MAX_POLL_LATENESS) / (1 + MAX_POLL_LATENESS))
    return min(poll_interval_s, wait_s + chance * min(spread_s, poll_interval_s))
