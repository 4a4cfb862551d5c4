from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.rollouts.pacing import PacingBudget, minute_of, require_feasible
from service.domain.rollouts.policy import Pacing
from service.errors import InvalidPolicy

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
GIB = 2**30
HOUR = timedelta(hours=1)


def budget_of(**limits):
    return PacingBudget(Pacing(**limits))


def test_without_a_limit_every_offer_fits():
    assert budget_of().reserve(GIB, NOW) is None


def test_no_more_downloads_are_open_than_allowed():
    budget = budget_of(max_open_downloads=2)
    assert [budget.reserve(1, NOW) is None for _ in range(3)] == [True, True, False]


def test_a_refused_offer_reserves_nothing():
    budget = budget_of(max_bytes_per_hour=GIB)
    assert budget.reserve(2 * GIB, NOW) is not None
    assert (budget.open_downloads, budget.bytes_by_minute, budget.reserved_by_minute) == (0, {}, {})


def test_any_five_minutes_take_a_sixth_of_the_hour():
    budget = budget_of(max_bytes_per_hour=600)
    fits = [budget.reserve(10, NOW) is None for _ in range(12)]
    assert fits == [True] * 10 + [False] * 2
    assert budget.reserve(10, NOW + timedelta(minutes=5, seconds=29)) is not None
    assert budget.reserve(10, NOW + timedelta(minutes=6)) is None


def test_an_offer_larger_than_a_burst_is_made_alone():
    budget = budget_of(max_bytes_per_hour=600)
    assert budget.reserve(500, NOW) is None
    refused = budget.reserve(1, NOW)
    assert refused.opens_at == minute_of(NOW) + timedelta(minutes=6)
    assert refused.duration >= timedelta(minutes=15)


def test_a_refused_device_is_told_when_there_will_be_room():
    budget = budget_of(max_bytes_per_hour=600)
    assert budget.reserve(500, NOW) is None
    retry = budget.reserve(200, NOW + timedelta(minutes=10))
    assert retry.opens_at == minute_of(NOW) + timedelta(minutes=61)
    assert budget.reserve(200, retry.opens_at) is None


def test_an_offer_without_a_download_always_fits():
    budget = budget_of(max_bytes_per_hour=600)
    assert budget.reserve(600, NOW) is None
    assert budget.reserve(0, NOW) is None


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 900)), min_size=1, max_size=60),
    st.integers(900, 3000),
)
@settings(deadline=None)
def test_no_hour_contains_more_than_the_limit(arrivals, limit):
    budget, now, offers = budget_of(max_bytes_per_hour=limit), NOW, []
    for pause_s, size in arrivals:
        now += timedelta(seconds=pause_s)
        if budget.reserve(size, now) is None:
            offers.append((now, size))
    assert offers, "the first download is within the limit"
    for start, _ in offers:
        assert sum(size for at, size in offers if start <= at < start + HOUR) <= limit


@given(st.lists(st.integers(-90, 90), min_size=1, max_size=40))
@settings(deadline=None)
def test_different_clocks_do_not_exceed_the_limit(skews):
    """Processes timestamp offers with their own clocks; the limit holds by these timestamps."""
    budget, offers = budget_of(max_bytes_per_hour=1000), []
    for index, skew in enumerate(skews):
        stamp = NOW + timedelta(minutes=3 * index, seconds=skew)
        if budget.reserve(150, stamp) is None:
            offers.append(stamp)
    assert offers, "the first download is within the limit"
    for start in offers:
        assert sum(150 for at in offers if start <= at < start + HOUR) <= 1000


def test_a_limit_below_one_download_is_refused():
    require_feasible(Pacing(max_bytes_per_hour=100), 100)
    require_feasible(Pacing(max_open_downloads=1), 10**12)
    with pytest.raises(InvalidPolicy, match="101 bytes") as refusal:
        require_feasible(Pacing(max_bytes_per_hour=100), 101)
    assert refusal.value.field == "policy.pacing.max_bytes_per_hour"
