from hypothesis import given
from hypothesis import strategies as st

from service.domain.load import (
    MAX_STRETCH,
    MOST,
    Load,
    come_back_s,
    first_after_outage_s,
    next_poll_s,
    stretch,
    turned_away,
)

loads = st.builds(Load, st.floats(0, 1), st.floats(0, 60))
chances = st.floats(0, 1)


def test_an_idle_server_asks_for_the_usual_pause_give_or_take_a_tenth():
    assert [next_poll_s(1000, Load(), chance) for chance in (0, 0.5, 1)] == [900, 1000, 1100]


def test_a_busy_server_asks_for_up_to_four_times_the_pause():
    assert stretch(Load(busy=0.7)) == 1
    assert stretch(Load(busy=0.85)) == 2.5
    assert stretch(Load(busy=1.0)) == MAX_STRETCH
    assert stretch(Load(late_s=3)) == MAX_STRETCH


def test_nobody_is_turned_away_by_a_server_that_is_on_time():
    assert turned_away(Load(busy=1.0, late_s=0.25)) == 0


def test_a_hopelessly_late_server_still_lets_some_in():
    assert turned_away(Load(late_s=60)) == MOST < 1


@given(loads, loads, chances)
def test_more_load_never_brings_devices_sooner_nor_lets_more_in(one, other, chance):
    heavier = Load(max(one.busy, other.busy), max(one.late_s, other.late_s))
    assert next_poll_s(3600, heavier, chance) >= next_poll_s(3600, one, chance)
    assert turned_away(heavier) >= turned_away(one)


@given(chances)
def test_who_was_turned_away_comes_back_between_fifteen_seconds_and_three_times_that(chance):
    assert 15 <= come_back_s(chance) <= 45


@given(chances, st.integers(1, 86400))
def test_after_an_outage_devices_come_soon_spread_and_never_much_later_than_usual(chance, base):
    assert 1 <= first_after_outage_s(base, 300, chance) <= 1 + 1.5 * min(base, 300)
