"""Pacing: how many downloads and bytes a rollout may offer now.

The limit on bytes holds in any hour, not only from full hour to full hour: the offers of any 3,600 seconds, by their own
times, never sum to more than `max_bytes_per_hour`. It is enforced with a count of bytes per clock minute. An offer fits
if the last 61 clock minutes, which contain any 3,600 seconds that end now, stay within the limit with it. So that the
budget is not spent in the first minutes of every hour, any five minutes take a sixth of it, or a single offer.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.domain.rollouts.policy import Pacing
from service.domain.rollouts.retry_window import RetryWindow
from service.errors import InvalidPolicy

MINUTE = timedelta(minutes=1)
HOUR_MINUTES = 61
"""Clock minutes that contain any 3,600 seconds which end in the last of them."""
BURST_MINUTES = 6
"""Clock minutes that contain any five minutes which end in the last of them."""
BURST_DIVISOR = 6
"""Any five minutes take at most this fraction of the hour's bytes: 1 / 6."""
DOWNLOAD_SLOT_WAIT = timedelta(minutes=1)
"""Time to the next poll of a device that found all download slots taken; the end of a download cannot be predicted."""
MIN_RETRY_SPREAD = timedelta(minutes=15)
"""Devices that were refused are spread over at least this time."""


def minute_of(moment: datetime) -> datetime:
    """Return the clock minute of a time."""
    return moment.replace(second=0, microsecond=0)


@dataclass(slots=True)
class PacingBudget:
    """What a rollout has offered, read under its lock, and what this transaction adds.

    Attributes:
        pacing: the limits.
        open_downloads: attempts that are downloading.
        bytes_by_minute: clock minute -> bytes offered in it.
        reserved_by_minute: clock minute -> bytes that this transaction adds.
    """

    pacing: Pacing
    open_downloads: int = 0
    bytes_by_minute: dict[datetime, int] = field(default_factory=dict)
    reserved_by_minute: dict[datetime, int] = field(default_factory=dict)

    def reserve(self, size: int, now: datetime) -> RetryWindow | None:
        """Reserve a download slot and `size` bytes; if a limit is reached, reserve nothing and return when to retry."""
        waits = [wait for wait in (self._wait_for_slot(), self._wait_for_bytes(size, now)) if wait]
        if waits:
            longest = max(waits)
            return RetryWindow(now + longest, max(longest, MIN_RETRY_SPREAD))
        minute = minute_of(now)
        self.open_downloads += 1
        self.bytes_by_minute[minute] = self.bytes_by_minute.get(minute, 0) + size
        self.reserved_by_minute[minute] = self.reserved_by_minute.get(minute, 0) + size
        return None

    def _wait_for_slot(self) -> timedelta | None:
        limit = self.pacing.max_open_downloads
        return DOWNLOAD_SLOT_WAIT if limit is not None and self.open_downloads >= limit else None

    def _wait_for_bytes(self, size: int, now: datetime) -> timedelta | None:
        limit = self.pacing.max_bytes_per_hour
        if limit is None or size == 0:
            return None
        fits_hour_at = self._fits_at(limit - size, HOUR_MINUTES, now)
        # An offer larger than a burst is made when no other offer is in its five minutes.
        fits_burst_at = self._fits_at(max(0, limit // BURST_DIVISOR - size), BURST_MINUTES, now)
        fits_at = max(fits_hour_at, fits_burst_at)
        return fits_at - now if fits_at > now else None

    def _fits_at(self, available: int, minutes: int, now: datetime) -> datetime:
        """Return when the last `minutes` clock minutes will contain at most `available` bytes if nothing is added."""
        since = minute_of(now) - (minutes - 1) * MINUTE
        recent = sorted((minute, size) for minute, size in self.bytes_by_minute.items() if minute >= since)
        total = sum(size for _, size in recent)
        fits_at = now
        for minute, size in recent:
            if total <= available:
                break
            total -= size
            fits_at = max(fits_at, minute + minutes * MINUTE)
        # If the bytes do not fit without any earlier offer, this offer alone is larger than the budget.
        return fits_at if total <= available else now + minutes * MINUTE


def require_feasible(pacing: Pacing, largest_download: int) -> None:
    """Refuse a limit that would not let a single device download the version.

    Args:
        pacing: the limits.
        largest_download: bytes of the largest variant.

    Raises:
        InvalidPolicy: the bytes of an hour are fewer than one full download.
    """
    limit = pacing.max_bytes_per_hour
    if limit is not None and limit < largest_download:
        raise InvalidPolicy(
            f"with {limit} bytes per hour, a device without a patch could never download the version's {largest_download} "
            f"bytes; allow at least {largest_download}",
            field="policy.pacing.max_bytes_per_hour",
        )
