from hypothesis import given
from hypothesis import strategies as st

from service.domain.load import (
    FIRST_ROOM,
    LEAST_ROOM,
    MAX_STRETCH,
    MOST_ROOM,
    PROMPT_S,
    Load,
    come_back_s,
    first_after_outage_s,
    next_poll_s,
    room,
    stretch,
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


def test_the_room_follows_how_late_those_were_who_had_waited():
    assert room(1000, late_s=2 * PROMPT_S, most_waited=1000) == 500
    assert room(1000, late_s=2 * PROMPT_S, most_waited=400) == 200
    assert room(1000, late_s=1000, most_waited=1000) == LEAST_ROOM


def test_lateness_without_a_queue_takes_no_room_away():
    assert room(FIRST_ROOM, late_s=5, most_waited=LEAST_ROOM) == FIRST_ROOM


def test_the_room_comes_back_by_itself_and_grows_beyond_that_only_where_it_is_needed():
    grown = LEAST_ROOM
    for _ in range(20):
        grown = room(grown, late_s=0, most_waited=0)
    assert FIRST_ROOM <= grown < 1.25 * FIRST_ROOM
    assert room(grown, late_s=0, most_waited=grown) > grown
    assert room(MOST_ROOM, late_s=0, most_waited=MOST_ROOM) == MOST_ROOM


@given(st.integers(LEAST_ROOM, MOST_ROOM), st.floats(0, 60), st.integers(0, 100_000))
def test_there_is_always_some_room_and_never_without_bound(past, late_s, most_waited):
    assert LEAST_ROOM <= room(past, late_s, most_waited) <= MOST_ROOM


@given(loads, loads, chances)
def test_more_load_never_brings_devices_sooner(one, other, chance):
    heavier = Load(max(one.busy, other.busy), max(one.late_s, other.late_s))
    assert next_poll_s(3600, heavier, chance) >= next_poll_s(3600, one, chance)


@given(chances)
def test_who_was_turned_away_comes_back_between_fifteen_seconds_and_three_times_that(chance):
    assert 15 <= come_back_s(chance) <= 45


@given(chances, st.integers(1, 86400))
def test_after_an_outage_devices_come_soon_spread_and_never_much_later_than_usual(chance, base):
    assert 1 <= first_after_outage_s(base, 300, chance) <= 1 + 1.5 * min(base, 300)
