"""How fast a rollout goes: what may be offered now, and when it will be done.

The bound on bytes holds in every hour, not in every hour of the clock: offers of any 3600 seconds, by their own
times, never sum to more than `bytes_per_hour`. It is kept from a record of bytes per minute: an offer fits if, with
it, the last 61 minutes of the clock stay below the bound, and those hold any 3600 seconds that end now. So that the
budget is not spent in the first minutes of each hour, any five minutes take a sixth of it, or one offer.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.domain.openings import Opening
from service.domain.policy import Pacing
from service.errors import InvalidPolicy

MINUTE = timedelta(minutes=1)
HOUR_MINUTES = 61
"""Minutes of the clock that cover any 3600 seconds which end in the last of them."""
BURST_MINUTES = 6
BURST_SHARE = 6
"""Any five minutes take at most 1 / 6 of the hour's bytes."""
SLOT_WAIT = timedelta(minutes=1)
"""Nobody knows when a download ends; so long until a device asks for its place again."""
LEAST_SPREAD = timedelta(minutes=15)
"""Over so long a time at least are those spread who come back."""

LEAST_SHARE = 0.001
MOST_HOURS = 10 * 365 * 24.0
"""Nobody waits longer, and the calendar ends."""


def minute_of(moment: datetime) -> datetime:
    """The minute of the clock that a moment is in."""
    return moment.replace(second=0, microsecond=0)


@dataclass(slots=True)
class Ledger:
    """What one rollout has given, read under its lock, and what is added in this transaction.

    Attributes:
        open: attempts whose download has not ended.
        spent: minute -> bytes offered in it.
        booked: minute -> bytes to be added to the record.
    """

    pacing: Pacing
    open: int = 0
    spent: dict[datetime, int] = field(default_factory=dict)
    booked: dict[datetime, int] = field(default_factory=dict)

    def book(self, size: int, now: datetime) -> Opening | None:
        """Take a place and `size` bytes; where there is none left, when to ask again, and nothing is taken."""
        waits = [wait for wait in (self._wait_for_slot(), self._wait_for_bytes(size, now)) if wait]
        if waits:
            longest = max(waits)
            return Opening(now + longest, max(longest, LEAST_SPREAD))
        minute = minute_of(now)
        self.open += 1
        self.spent[minute] = self.spent.get(minute, 0) + size
        self.booked[minute] = self.booked.get(minute, 0) + size
        return None

    def _wait_for_slot(self) -> timedelta | None:
        most = self.pacing.open_downloads
        return SLOT_WAIT if most is not None and self.open >= most else None

    def _wait_for_bytes(self, size: int, now: datetime) -> timedelta | None:
        budget = self.pacing.bytes_per_hour
        if budget is None or size == 0:
            return None
        free = self._fits_at(budget - size, HOUR_MINUTES, now)
        # One offer may be larger than a burst: it goes alone.
        calm = self._fits_at(max(0, budget // BURST_SHARE - size), BURST_MINUTES, now)
        at = max(free, calm)
        return at - now if at > now else None

    def _fits_at(self, room: int, minutes: int, now: datetime) -> datetime:
        """When the last `minutes` minutes will hold at most `room` bytes, if nothing is added."""
        since = minute_of(now) - (minutes - 1) * MINUTE
        counted = sorted((minute, bytes_) for minute, bytes_ in self.spent.items() if minute >= since)
        total = sum(bytes_ for _, bytes_ in counted)
        at = now
        for minute, bytes_ in counted:
            if total <= room:
                break
            total -= bytes_
            at = max(at, minute + minutes * MINUTE)
        # With nothing left to forget and still no room, the offer alone is larger than the budget.
        return at if total <= room else now + minutes * MINUTE


def require_possible(pacing: Pacing, largest: int) -> None:
    """Refuse a budget that not even one device could be served from.

    Args:
        pacing: as declared.
        largest: bytes of the largest build's files.

    Raises:
        InvalidPolicy: an hour's bytes are fewer than one full download.
    """
    if pacing.bytes_per_hour is not None and pacing.bytes_per_hour < largest:
        raise InvalidPolicy(
            f"the version's files have {largest} bytes; with {pacing.bytes_per_hour} an hour a device without a "
            "patch could never have them",
            field="policy.pacing.bytes_per_hour",
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a rollout's way.

    Attributes:
        devices_left: whom the open stages mean, and who are not there yet.
        bytes_left: what they will download.
        per_hour: devices that have been offered it in the last hour.
        slots_full: as many downloads are open as may be.
        open_share: share of the week in which windows are open.
    """

    devices_left: int
    bytes_left: int
    per_hour: float
    slots_full: bool = False
    open_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a rollout will be done, as it goes now.

    Attributes:
        per_hour: devices that an hour takes.
        limited_by: what keeps it from being faster: `bytes_per_hour`, `open_downloads`, or `devices` (how fast they
            come).
        done_at: None where nothing moves.
    """

    per_hour: float
    limited_by: str
    done_at: datetime | None


def forecast(pacing: Pacing, progress: Progress, now: datetime) -> Forecast:
    """The end of the open stages at the pace of the last hour, or at what the budget allows if that is less.

    Where nobody has come yet, the budget alone tells the soonest end.
    """
    seen = progress.per_hour or math.inf
    budget = _devices_by_bytes(pacing, progress)
    limited_by = "bytes_per_hour" if budget <= seen and budget < math.inf else "devices"
    if limited_by == "devices" and progress.slots_full:
        limited_by = "open_downloads"
    if progress.devices_left == 0:
        return Forecast(progress.per_hour, "devices", now)
    per_hour = min(seen, budget)
    if not 0 < per_hour < math.inf:
        return Forecast(0.0, limited_by, None)
    # What was seen in the last hour has been through the windows already; the budget has not.
    share = progress.open_share if limited_by == "bytes_per_hour" else 1.0
    hours = min(progress.devices_left / per_hour / max(share, LEAST_SHARE), MOST_HOURS)
    return Forecast(per_hour, limited_by, now + timedelta(hours=hours))


def _devices_by_bytes(pacing: Pacing, progress: Progress) -> float:
    if pacing.bytes_per_hour is None or progress.bytes_left == 0:
        return math.inf
    return pacing.bytes_per_hour * progress.devices_left / progress.bytes_left
