from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.pacing import Ledger, Progress, forecast, minute_of, require_possible
from service.domain.policy import Pacing
from service.errors import InvalidPolicy

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
GIB = 2**30
HOUR = timedelta(hours=1)


def ledger(**bounds):
    return Ledger(Pacing(**bounds))


def test_without_a_bound_everything_is_booked():
    assert ledger().book(GIB, NOW) is None


def test_no_more_downloads_are_opened_than_there_are_places():
    found = ledger(open_downloads=2)
    assert [found.book(1, NOW) is None for _ in range(3)] == [True, True, False]


def test_a_refused_offer_takes_nothing():
    found = ledger(bytes_per_hour=GIB)
    assert found.book(2 * GIB, NOW) is not None
    assert (found.open, found.spent, found.booked) == (0, {}, {})


def test_any_five_minutes_take_a_sixth_of_the_hour():
    found = ledger(bytes_per_hour=600)
    taken = [found.book(10, NOW) is None for _ in range(12)]
    assert taken == [True] * 10 + [False] * 2
    assert found.book(10, NOW + timedelta(minutes=5, seconds=29)) is not None
    assert found.book(10, NOW + timedelta(minutes=6)) is None


def test_an_offer_larger_than_a_burst_goes_alone():
    found = ledger(bytes_per_hour=600)
    assert found.book(500, NOW) is None
    refused = found.book(1, NOW)
    assert refused.at == minute_of(NOW) + timedelta(minutes=6)
    assert refused.lasts >= timedelta(minutes=15)


def test_who_is_refused_hears_when_there_will_be_room():
    found = ledger(bytes_per_hour=600)
    assert found.book(500, NOW) is None
    opening = found.book(200, NOW + timedelta(minutes=10))
    assert opening.at == minute_of(NOW) + timedelta(minutes=61)
    assert found.book(200, opening.at) is None


def test_an_offer_that_costs_nothing_needs_no_budget():
    found = ledger(bytes_per_hour=600)
    assert found.book(600, NOW) is None
    assert found.book(0, NOW) is None


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 900)), min_size=1, max_size=60),
    st.integers(900, 3000),
)
@settings(deadline=None)
def test_no_hour_whatsoever_holds_more_than_the_budget(arrivals, budget):
    found, now, given_ = ledger(bytes_per_hour=budget), NOW, []
    for pause_s, size in arrivals:
        now += timedelta(seconds=pause_s)
        if found.book(size, now) is None:
            given_.append((now, size))
    for start, _ in given_:
        assert sum(size for at, size in given_ if start <= at < start + HOUR) <= budget


@given(st.lists(st.integers(-90, 90), min_size=1, max_size=40))
@settings(deadline=None)
def test_clocks_that_disagree_do_not_open_the_budget(skews):
    """Processes stamp offers with clocks of their own; the bound holds by those stamps."""
    found, given_ = ledger(bytes_per_hour=1000), []
    for index, skew in enumerate(skews):
        stamp = NOW + timedelta(minutes=3 * index, seconds=skew)
        if found.book(150, stamp) is None:
            given_.append(stamp)
    for start in given_:
        assert sum(150 for at in given_ if start <= at < start + HOUR) <= 1000


def test_a_budget_below_one_download_is_refused_by_name():
    require_possible(Pacing(bytes_per_hour=100), 100)
    require_possible(Pacing(open_downloads=1), 10**12)
    with pytest.raises(InvalidPolicy, match="101 bytes") as refusal:
        require_possible(Pacing(bytes_per_hour=100), 101)
    assert refusal.value.field == "policy.pacing.bytes_per_hour"


# --- forecast -------------------------------------------------------------------------------------


def progress(**known):
    values = {"devices_left": 1000, "bytes_left": 1000 * GIB, "per_hour": 200.0}
    return Progress(**(values | known))


def test_devices_that_come_slower_than_the_budget_allows_decide_the_end():
    found = forecast(Pacing(bytes_per_hour=500 * GIB), progress(), NOW)
    assert (found.limited_by, found.per_hour) == ("devices", 200)
    assert found.done_at == NOW + timedelta(hours=5)


def test_a_budget_that_is_tighter_decides_the_end():
    found = forecast(Pacing(bytes_per_hour=100 * GIB), progress(), NOW)
    assert (found.limited_by, found.per_hour) == ("bytes_per_hour", 100)
    assert found.done_at == NOW + timedelta(hours=10)


def test_full_places_are_named_as_what_keeps_it_from_being_faster():
    found = forecast(Pacing(open_downloads=10), progress(slots_full=True), NOW)
    assert (found.limited_by, found.done_at) == ("open_downloads", NOW + timedelta(hours=5))


def test_windows_stretch_what_the_budget_allows():
    found = forecast(Pacing(bytes_per_hour=100 * GIB), progress(open_share=0.25), NOW)
    assert found.done_at == NOW + timedelta(hours=40)


def test_where_nothing_moves_and_nothing_bounds_there_is_no_forecast():
    assert forecast(Pacing(), progress(per_hour=0.0), NOW).done_at is None


def test_where_nobody_has_come_yet_the_budget_tells_the_soonest_end():
    assert forecast(Pacing(bytes_per_hour=100 * GIB), progress(per_hour=0.0), NOW).per_hour == 100


def test_nobody_left_is_done():
    assert forecast(Pacing(), progress(devices_left=0, bytes_left=0), NOW).done_at == NOW
