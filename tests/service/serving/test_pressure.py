from contextlib import suppress

import pytest

from service.errors import Unavailable
from service.serving.pressure import CROWD, LOOK_EVERY_S, Pressure


def tries(pressure, count=400):
    """How many of so many requests are let in, and when the others may come back."""
    let_in, again = 0, []
    for _ in range(count):
        try:
            pressure.admit()
        except Unavailable as refusal:
            again.append(refusal.retry_after_s)
        else:
            let_in += 1
    return let_in, again


def look(pressure, wall_s, cpu_s, requests=CROWD):
    """One look, after so many requests."""
    for _ in range(requests):
        with suppress(Unavailable):
            pressure.admit()
    pressure.note(wall_s, cpu_s)


def test_a_slow_machine_turns_nobody_away_who_comes_alone():
    pressure = Pressure()
    for _ in range(20):
        look(pressure, LOOK_EVERY_S + 5, 5, requests=3)
    assert tries(pressure, 100) == (100, [])


def test_a_process_that_is_on_time_lets_everybody_in():
    pressure = Pressure()
    for _ in range(20):
        look(pressure, LOOK_EVERY_S, LOOK_EVERY_S)
    assert pressure.load.busy > 0.9
    assert tries(pressure) == (400, [])


def test_a_late_process_turns_most_away_quickly_and_spreads_their_return():
    pressure = Pressure()
    look(pressure, LOOK_EVERY_S + 3, 3)
    let_in, again = tries(pressure)
    assert 0 < let_in < 100
    assert len(set(again)) > 10


def test_one_look_tells_that_it_is_late_and_some_that_it_is_over():
    pressure = Pressure()
    look(pressure, LOOK_EVERY_S + 2, 2)
    assert pressure.load.late_s == pytest.approx(2)
    look(pressure, LOOK_EVERY_S, 0)
    assert pressure.load.late_s == pytest.approx(1.6)
    for _ in range(12):
        look(pressure, LOOK_EVERY_S, 0)
    assert tries(pressure) == (400, [])
