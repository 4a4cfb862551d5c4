"""Daily windows: when a rollout may offer something, in the device's own time or in a named zone.

A window is a time that a clock on the wall shows. On the day on which clocks are put forward a window inside the
hour that is left out does not open; on the day on which they are put back, one inside the hour that comes twice
opens twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from service.domain.cohorts import Attributes
from service.domain.openings import Opening
from service.errors import InvalidPolicy

DEVICE = "device"
"""The zone that stands for each device's own."""
WEEK = frozenset(range(7))
_DAY_MINUTES = 24 * 60
_MAX_OFFSET_MIN = 14 * 60
_HORIZON_DAYS = 16
"""A weekly window that one change of the clocks swallows opens the week after."""


@dataclass(frozen=True, slots=True)
class Daily:
    """A time of the day; `end` before `start` is on the next day.

    Attributes:
        start, end: minutes since midnight; the end is outside.
        days: of the week on which it opens, 0 for Monday.
    """

    start: int
    end: int
    days: frozenset[int] = WEEK

    @property
    def minutes(self) -> int:
        """How long it is open on a day without a change of the clocks."""
        return (self.end - self.start) % _DAY_MINUTES

    def holds(self, moment: datetime) -> bool:
        """Whether a clock that shows `moment` is inside."""
        minute, today = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.end:
            return self.start <= minute < self.end and today in self.days
        late, early = minute >= self.start, minute < self.end
        return (late and today in self.days) or (early and (today - 1) % 7 in self.days)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a rollout; open while any of them is.

    Attributes:
        zone: `device`, or an IANA name.
    """

    zone: str
    daily: tuple[Daily, ...]


@dataclass(frozen=True, slots=True)
class LocalTime:
    """Which clock counts for a device, and how we know."""

    name: str
    zone: tzinfo
    source: str


def parse_windows(raw: Mapping[str, Any]) -> Windows:
    """Windows from JSON whose shape has been checked.

    Raises:
        InvalidPolicy: a zone that does not exist, a window that never opens; `field` says which.
    """
    zone = raw.get("zone", DEVICE)
    if zone != DEVICE and zone not in _zone_names():
        raise InvalidPolicy(
            f"there is no time zone {zone!r}; name one such as Asia/Shanghai, or {DEVICE!r} for each device's own",
            field="policy.windows.zone",
        )
    daily = raw.get("daily") or []
    if not daily:
        raise InvalidPolicy(
            "without a window it never opens; leave windows out for always", field="policy.windows.daily"
        )
    return Windows(zone, tuple(_daily(item, index) for index, item in enumerate(daily)))


def _daily(raw: Mapping[str, Any], index: int) -> Daily:
    place = f"policy.windows.daily.{index}"
    start, end = _minute(raw["start"]), _minute(raw["end"])
    if start == end:
        raise InvalidPolicy(
            f"a window from {raw['start']} to {raw['end']} never opens; for the whole day leave windows out, "
            "or use two windows that meet",
            field=f"{place}.end",
        )
    days = raw.get("days")
    if days is None:
        return Daily(start, end)
    if not days or not WEEK.issuperset(days):
        raise InvalidPolicy(
            f"{days} are no days on which a window can open; use 0 for Monday to 6 for Sunday",
            field=f"{place}.days",
        )
    return Daily(start, end, frozenset(days))


def _minute(text: str) -> int:
    moment = time.fromisoformat(text)
    return moment.hour * 60 + moment.minute


def local_time(windows: Windows, attributes: Attributes) -> LocalTime:
    """The clock that counts: the named zone, else what the device says of itself, else UTC."""
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


def opening(windows: Windows, attributes: Attributes, now: datetime) -> Opening | None:
    """When a device gets offers again; None while it does."""
    zone = local_time(windows, attributes).zone
    if _open(windows, now, zone):
        return None
    return _next_opening(windows, zone, now.replace(second=0, microsecond=0))


@cache
def _zone_names() -> frozenset[str]:
    """Names of all zones: those of the machine, and those of the `tzdata` package, which is always there."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    """Kept: the standard library forgets all but eight zones and would read their files again."""
    return ZoneInfo(name)


def _open(windows: Windows, moment: datetime, zone: tzinfo) -> bool:
    shown = moment.astimezone(zone)
    return any(window.holds(shown) for window in windows.daily)


# The answer is the same for all devices of a zone within a minute, and a fleet has many devices.
@lru_cache(maxsize=4096)
def _next_opening(windows: Windows, zone: tzinfo, after: datetime) -> Opening:
    today = after.astimezone(zone).date()
    for ahead in range(-1, _HORIZON_DAYS):
        day = today + timedelta(days=ahead)
        found = [item for item in _openings(windows, zone, day) if item.at > after]
        if found:
            return min(found, key=lambda item: item.at)
    # Only for a zone that skips whole days for two weeks.
    return Opening(after + timedelta(days=_HORIZON_DAYS), timedelta(hours=1))


def _openings(windows: Windows, zone: tzinfo, day: date) -> Iterator[Opening]:
    for window in windows.daily:
        if day.weekday() not in window.days:
            continue
        start = datetime.combine(day, time(window.start // 60, window.start % 60), zone)
        for moment in _moments(start):
            # A start in the hour that is left out: what is left of the window opens when clocks have jumped.
            if window.holds(moment.astimezone(zone)):
                yield Opening(moment, timedelta(minutes=window.minutes))


def _moments(shown: datetime) -> Iterator[datetime]:
    """When a clock shows this: once, twice, or, for a time that is left out, when the clock jumps past it."""
    first = shown.replace(fold=0).astimezone(UTC)
    second = shown.replace(fold=1).astimezone(UTC)
    if first > second:
        yield _jump(second, first, shown.tzinfo)
        return
    yield first
    if second > first:
        yield second


def _jump(before: datetime, after: datetime, zone: tzinfo | None) -> datetime:
    """The moment between two at which the zone changes its offset, to the second."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)
