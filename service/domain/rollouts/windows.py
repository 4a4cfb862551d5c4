"""Daily windows in which a rollout makes offers, in the device's time zone or in a named one.

A window is a time on a local clock. When clocks are set forward, a window inside the skipped hour does not open that
day. When they are set back, a window inside the repeated hour opens twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from service.domain.rollouts.retry_window import RetryWindow
from service.domain.targeting.rules import Attributes
from service.errors import InvalidPolicy

DEVICE = "device"
"""In place of a zone: the time zone of each device."""
WEEK = frozenset(range(7))
_DAY_MINUTES = 24 * 60
_MAX_OFFSET_MIN = 14 * 60
_HORIZON_DAYS = 16
"""A weekly window that a clock change skips opens the week after."""


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """A time of the day; an `end` before `start` is on the next day.

    Attributes:
        start: minutes since midnight.
        end: minutes since midnight; the window is closed at this minute.
        days: weekdays on which the window opens, 0 for Monday.
    """

    start: int
    end: int
    days: frozenset[int] = WEEK

    @property
    def minutes(self) -> int:
        """Minutes that the window is open on a day without a clock change."""
        return (self.end - self.start) % _DAY_MINUTES

    def contains(self, local: datetime) -> bool:
        """Return whether a local time is inside the window."""
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return self.start <= minute < self.end and today in self.days
        late, early = minute >= self.start, minute < self.end
        return (late and today in self.days) or (early and (today - 1) % 7 in self.days)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a rollout, which makes offers while any of them is open.

    Attributes:
        zone: an IANA name, or `device`.
        daily: the windows.
    """

    zone: str
    daily: tuple[DailyWindow, ...]


@dataclass(frozen=True, slots=True)
class LocalTime:
    """The time zone that counts for a device.

    Attributes:
        name: name of the zone.
        zone: the zone.
        source: where it comes from.
    """

    name: str
    zone: tzinfo
    source: str


def parse_windows(raw: Mapping[str, Any]) -> Windows:
    """Parse the JSON of windows, whose structure was checked before.

    Raises:
        InvalidPolicy: a zone does not exist, or a window never opens; `field` is the path.
    """
    zone = raw.get("zone", DEVICE)
    if zone != DEVICE and zone not in _zone_names():
        raise InvalidPolicy(
            f"there is no time zone {zone!r}; use a name such as Asia/Shanghai, or {DEVICE!r} for each device's own",
            field="policy.windows.zone",
        )
    daily = raw.get("daily") or []
    if not daily:
        raise InvalidPolicy(
            "without a daily window the rollout never makes offers; for always, leave windows out",
            field="policy.windows.daily",
        )
    return Windows(
        zone, tuple(_parse_daily(item, f"policy.windows.daily.{n}") for n, item in enumerate(daily))
    )


def local_time(windows: Windows, attributes: Attributes) -> LocalTime:
    """Return the zone that counts: the named one, else what the device reports, else UTC."""
    if windows.zone != DEVICE:
        return LocalTime(windows.zone, _zone(windows.zone), "policy")
    name = attributes.get("timezone")
    if isinstance(name, str) and name in _zone_names():
        return LocalTime(name, _zone(name), "attribute timezone")
    offset = attributes.get("utc_offset_min")
    if isinstance(offset, int) and not isinstance(offset, bool) and abs(offset) <= _MAX_OFFSET_MIN:
        zone = timezone(timedelta(minutes=offset))
        return LocalTime(zone.tzname(None), zone, "attribute utc_offset_min")
    return LocalTime("UTC", UTC, "unknown, so UTC")


def next_opening(windows: Windows, attributes: Attributes, now: datetime) -> RetryWindow | None:
    """Return when a window opens next for a device; None while one is open."""
    zone = local_time(windows, attributes).zone
    if _is_open(windows, now, zone):
        return None
    return _find_next_opening(windows, zone, now.replace(second=0, microsecond=0))


def _parse_daily(raw: Mapping[str, Any], path: str) -> DailyWindow:
    start, end = _minute(raw["start"]), _minute(raw["end"])
    if start == end:
        raise InvalidPolicy(
            f"a window from {raw['start']} to {raw['end']} never opens; for the whole day leave windows out, or use "
            "two adjacent windows",
            field=f"{path}.end",
        )
    days = raw.get("days")
    if days is None:
        return DailyWindow(start, end)
    if not days or not WEEK.issuperset(days):
        raise InvalidPolicy(
            f"{days} are not weekdays; use one or more of 0 for Monday to 6 for Sunday", field=f"{path}.days"
        )
    return DailyWindow(start, end, frozenset(days))


def _minute(text: str) -> int:
    parsed = time.fromisoformat(text)
    return parsed.hour * 60 + parsed.minute


@cache
def _zone_names() -> frozenset[str]:
    """All zones of the machine and of the `tzdata` package, which is always installed."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    """Cached, because the standard library keeps eight zones only and would read the files of others again."""
    return ZoneInfo(name)


def _is_open(windows: Windows, moment: datetime, zone: tzinfo) -> bool:
    local = moment.astimezone(zone)
    return any(window.contains(local) for window in windows.daily)


# All devices of a zone get the same answer within a minute.
@lru_cache(maxsize=4096)
def _find_next_opening(windows: Windows, zone: tzinfo, after: datetime) -> RetryWindow:
    today = after.astimezone(zone).date()
    for days in range(-1, _HORIZON_DAYS):
        openings = _openings_on(windows, zone, today + timedelta(days=days))
        later = [opening for opening in openings if opening.opens_at > after]
        if later:
            return min(later, key=lambda opening: opening.opens_at)
    # Reached only for a zone that skips whole days for two weeks.
    return RetryWindow(after + timedelta(days=_HORIZON_DAYS), timedelta(hours=1))


def _openings_on(windows: Windows, zone: tzinfo, day: date) -> Iterator[RetryWindow]:
    for window in windows.daily:
        if day.weekday() not in window.days:
            continue
        start = datetime.combine(day, time(window.start // 60, window.start % 60), zone)
        for moment in _instants(start):
            # If the start is in a skipped hour, the rest of the window opens at the clock change.
            if window.contains(moment.astimezone(zone)):
                yield RetryWindow(moment, timedelta(minutes=window.minutes))


def _instants(local: datetime) -> Iterator[datetime]:
    """Return when a clock shows a local time: once, twice, or at the clock change that skips it."""
    first = local.replace(fold=0).astimezone(UTC)
    second = local.replace(fold=1).astimezone(UTC)
    if first > second:
        yield _clock_change(second, first, local.tzinfo)
        return
    yield first
    if second > first:
        yield second


def _clock_change(before: datetime, after: datetime, zone: tzinfo | None) -> datetime:
    """Return when the zone changes its offset between two times, to the second."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)
