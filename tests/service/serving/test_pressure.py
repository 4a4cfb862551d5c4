import pytest

from service.domain.load import FIRST_ROOM, LEAST_ROOM, ONE_IN, Load
from service.serving.pressure import CROWD, LOOK_EVERY_S, Pressure, no_room


def come(pressure, count):
    """So many requests are answered."""
    for _ in range(count):
        pressure.enter()
        pressure.leave()


def look(pressure, wall_s, cpu_s, requests=CROWD, waiting=0):
    """One look, after so many requests, of which so many waited."""
    come(pressure, requests)
    pressure.is_full(waiting)
    pressure.note(wall_s, cpu_s)


def test_a_slow_machine_turns_nobody_away_who_comes_alone():
    pressure = Pressure()
    for _ in range(20):
        look(pressure, LOOK_EVERY_S + 5, 5, requests=3)
    assert pressure.load.late_s == 0
    assert not any(pressure.is_full(LEAST_ROOM - 1) for _ in range(100))


def test_a_process_that_is_on_time_has_room():
    pressure = Pressure()
    for _ in range(20):
        look(pressure, LOOK_EVERY_S, LOOK_EVERY_S)
    assert pressure.load.busy > 0.9
    assert not any(pressure.is_full(FIRST_ROOM - 1) for _ in range(100))


def test_who_finds_no_room_is_turned_away_but_for_one_in_a_few():
    pressure = Pressure()
    full = [pressure.is_full(FIRST_ROOM) for _ in range(10 * ONE_IN)]
    assert full.count(False) == 10


def test_a_process_that_was_late_with_a_queue_allows_a_shorter_one_and_soon_the_old_one_again():
    pressure = Pressure()
    look(pressure, LOOK_EVERY_S + 3, 3, waiting=FIRST_ROOM)
    assert pressure.is_full(LEAST_ROOM)
    for _ in range(15):
        look(pressure, LOOK_EVERY_S, 0)
    assert not any(pressure.is_full(FIRST_ROOM - 1) for _ in range(100))


def test_a_simulation_is_never_full():
    pressure = Pressure()
    pressure.pin(Load())
    assert not any(pressure.is_full(100_000) for _ in range(100))


def test_one_look_tells_that_it_is_late_and_some_that_it_is_over():
    pressure = Pressure()
    look(pressure, LOOK_EVERY_S + 2, 2)
    assert pressure.load.late_s == pytest.approx(2)
    look(pressure, LOOK_EVERY_S, 0)
    assert pressure.load.late_s == pytest.approx(1.6)
    for _ in range(12):
        look(pressure, LOOK_EVERY_S, 0)
    assert pressure.load.late_s < 0.25


def test_those_that_are_being_answered_are_counted():
    pressure = Pressure()
    pressure.enter()
    pressure.enter()
    pressure.leave()
    assert pressure.inside == 1


def test_the_refusal_says_when_to_come_back_and_another_time_to_each():
    times = [no_room(chance / 100).retry_after_s for chance in range(101)]
    assert (min(times), max(times)) == (15, 45)
    assert len(set(times)) == 31
