"""Poll intervals under load: a busy server asks devices to poll less often."""

from dataclasses import dataclass

BUSY_ABOVE = 0.7
"""Share of busy time above which devices are asked to poll less often."""
MAX_BACKOFF_FACTOR = 4.0
MAX_LATENESS_S = 0.25
"""Lateness at which devices are asked to poll as rarely as possible."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a process.

    Attributes:
        busy: share of the last seconds in which the process was busy, 0 to 1.
        late_s: seconds by which its event loop is late.
    """

    busy: float = 0.0
    late_s: float = 0.0


def backoff_factor(load: Load) -> float:
    """Return the factor by which poll intervals are lengthened, 1 to `MAX_BACKOFF_FACTOR`."""
    by_work = max(0.0, load.busy - BUSY_ABOVE) / (1 - BUSY_ABOVE)
    by_lateness = load.late_s / MAX_LATENESS_S
    return 1 + (MAX_BACKOFF_FACTOR - 1) * min(1.0, max(by_work, by_lateness))


def next_poll_s(interval_s: float, load: Load, chance: float) -> int:
    """Return the seconds until the next poll: the interval, lengthened under load, with 10 % of jitter.

    Jitter spreads a fleet that was started, or cut off, at the same time.

    Args:
        interval_s: the usual poll interval.
        load: load of the process that responds.
        chance: random number from 0 to 1, drawn for this poll.
    """
    return max(1, round(interval_s * backoff_factor(load) * (0.9 + 0.2 * chance)))


def first_after_outage_s(interval_s: float, soon_s: float, chance: float) -> int:
    """Return the seconds until a device retries that would have been offered something: soon, and spread widely."""
    return max(1, round(min(interval_s, soon_s) * (0.5 + chance)))
