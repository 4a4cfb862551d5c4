from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.rollouts.policy import parse_policy
from service.domain.rollouts.windows import local_time, next_opening, parse_windows
from service.errors import InvalidPolicy

FRIDAY_NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def windows(*daily, zone="UTC"):
    """Each window is given as `start-end` or `start-end@days`."""
    return parse_windows({"zone": zone, "daily": [_daily(text) for text in daily]})


def _daily(text):
    times, _, days = text.partition("@")
    start, _, end = times.partition("-")
    return {"start": start, "end": end} | ({"days": [int(day) for day in days]} if days else {})


def opening_of(*arguments):
    """The next opening, where there is one."""
    found = next_opening(*arguments)
    assert found is not None
    return found


def at(*moment, zone="UTC", fold=0):
    return datetime(*moment, fold=fold).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def is_open(daily, moment, **attributes):
    return next_opening(daily, attributes, moment) is None


def test_a_window_is_open_from_its_start_to_just_before_its_end():
    night = windows("02:00-04:00")
    seen = [
        is_open(night, at(2026, 11, 20, hour, minute)) for hour, minute in [(1, 59), (2, 0), (3, 59), (4, 0)]
    ]
    assert seen == [False, True, True, False]


def test_a_window_may_cross_midnight():
    late = windows("23:00-01:00")
    seen = [is_open(late, at(2026, 11, 20, hour)) for hour in (22, 23, 0, 1)]
    assert seen == [False, True, True, False]


def test_a_window_belongs_to_the_day_on_which_it_opens():
    friday_night = windows("23:00-01:00@4")
    assert is_open(friday_night, at(2026, 11, 20, 23, 30))
    assert is_open(friday_night, at(2026, 11, 21, 0, 30))
    assert not is_open(friday_night, at(2026, 11, 20, 0, 30))


def test_a_rollout_is_open_while_any_window_is():
    both = windows("02:00-04:00", "12:00-13:00")
    assert is_open(both, FRIDAY_NOON)
    assert is_open(both, at(2026, 11, 20, 3))


def test_a_named_zone_applies_to_all_devices():
    night = windows("02:00-04:00", zone="Asia/Shanghai")
    moment = at(2026, 11, 20, 3, zone="Asia/Shanghai")
    assert is_open(night, moment)
    assert is_open(night, moment, timezone="America/New_York")


@pytest.mark.parametrize(
    ("attributes", "name", "source"),
    [
        ({"timezone": BERLIN}, BERLIN, "attribute timezone"),
        ({"timezone": BERLIN, "utc_offset_min": 480}, BERLIN, "attribute timezone"),
        ({"utc_offset_min": 480}, "UTC+08:00", "attribute utc_offset_min"),
        ({"timezone": "Mars/Olympus", "utc_offset_min": -90}, "UTC-01:30", "attribute utc_offset_min"),
        ({"timezone": "../../etc/passwd"}, "UTC", "unknown, so UTC"),
        ({"timezone": 7, "utc_offset_min": True}, "UTC", "unknown, so UTC"),
        ({"utc_offset_min": 10**6}, "UTC", "unknown, so UTC"),
        ({}, "UTC", "unknown, so UTC"),
    ],
)
def test_a_device_has_the_zone_that_it_reports_or_utc(attributes, name, source):
    found = local_time(windows("02:00-04:00", zone="device"), attributes)
    assert (found.name, found.source) == (name, source)


def test_the_next_opening_has_a_time_and_a_duration():
    found = opening_of(windows("02:00-04:30"), {}, FRIDAY_NOON)
    assert (found.opens_at, found.duration) == (at(2026, 11, 21, 2), timedelta(hours=2, minutes=30))


def test_the_next_opening_is_the_earliest():
    found = opening_of(windows("02:00-04:00", "18:00-19:00@4", "13:00-14:00@5"), {}, FRIDAY_NOON)
    assert found.opens_at == at(2026, 11, 20, 18)


def test_a_weekly_window_opens_next_week():
    assert opening_of(windows("10:00-11:00@4"), {}, FRIDAY_NOON).opens_at == at(2026, 11, 27, 10)


def test_local_time_counts_in_summer_and_in_winter():
    night = windows("02:00-04:00", zone=BERLIN)
    assert opening_of(night, {}, at(2026, 1, 9, 12)).opens_at == at(2026, 1, 10, 1)
    assert opening_of(night, {}, at(2026, 7, 9, 12)).opens_at == at(2026, 7, 10, 0)


def test_a_window_that_starts_in_the_skipped_hour_opens_at_the_clock_change():
    found = opening_of(windows("02:30-05:00", zone=BERLIN), {}, at(2026, 3, 28, 22))
    assert found.opens_at == at(2026, 3, 29, 1), "at that moment the clock goes from 02:00 to 03:00"


def test_a_window_inside_the_skipped_hour_opens_the_next_day():
    assert opening_of(windows("02:10-02:50", zone=BERLIN), {}, at(2026, 3, 28, 22)).opens_at == at(
        2026, 3, 30, 0, 10
    )


def test_a_window_inside_the_repeated_hour_opens_twice():
    night = windows("02:10-02:50", zone=BERLIN)
    first, second = at(2026, 10, 25, 0, 10), at(2026, 10, 25, 1, 10)
    assert is_open(night, first)
    assert is_open(night, second)
    assert opening_of(night, {}, first + timedelta(minutes=45)).opens_at == second


ZONES = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
)
MINUTES = st.integers(0, 24 * 60 - 1)


@given(
    ZONES,
    st.lists(st.tuples(MINUTES, MINUTES).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=3),
    st.integers(0, 700 * 24 * 60),
    st.frozensets(st.integers(0, 6), min_size=1),
)
@settings(deadline=None)
def test_the_next_opening_is_the_first_open_time(zone, pairs, minutes, days):
    daily = [{"start": _clock(start), "end": _clock(end), "days": sorted(days)} for start, end in pairs]
    found, now = parse_windows({"zone": zone, "daily": daily}), at(2026, 1, 1) + timedelta(minutes=minutes)
    opening = next_opening(found, {}, now)
    if opening is None:
        return
    assert opening.opens_at > now
    assert is_open(found, opening.opens_at)
    step = (opening.opens_at - now) / 50
    assert not any(is_open(found, now + step * part) for part in range(50))


def _clock(minute):
    return f"{minute // 60:02}:{minute % 60:02}"


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        ({"zone": "Mars/Olympus", "daily": [{"start": "01:00", "end": "02:00"}]}, "zone", "Asia/Shanghai"),
        ({"zone": "", "daily": [{"start": "01:00", "end": "02:00"}]}, "zone", "there is no time zone"),
        ({"daily": []}, "daily", "leave windows out"),
        ({"daily": [{"start": "01:00", "end": "01:00"}]}, "daily.0.end", "never opens"),
        ({"daily": [{"start": "01:00", "end": "02:00", "days": []}]}, "daily.0.days", "0 for Monday"),
        (
            {"daily": [{"start": "01:00", "end": "02:00"}, {"start": "01:00", "end": "02:00", "days": [7]}]},
            "daily.1.days",
            "0 for Monday",
        ),
    ],
)
def test_invalid_windows_are_refused_with_their_path(raw, field, message):
    with pytest.raises(InvalidPolicy, match=message) as refusal:
        parse_policy({"windows": raw})
    assert refusal.value.field == f"policy.windows.{field}"


def test_zones_are_known_on_a_machine_without_a_zone_database():
    # Slim images have no /usr/share/zoneinfo; that is why the package `tzdata` is a dependency.
    assert (resources.files("tzdata") / "zoneinfo" / "Asia" / "Shanghai").is_file()
