from service.cli.bench.overload.judge import is_itself, judged, recovery_s
from service.cli.bench.overload.plan import Outcome, Stretch, Told


def stretch(name, at_s=0.0, *, due=100, answered=100, p99_ms=5.0, seconds=1.0, turned_away=0):
    outcomes = {str(Outcome.ANSWERED): answered, str(Outcome.TURNED_AWAY): turned_away}
    return Stretch(name, at_s, seconds, due, due, outcomes, p99_ms / 2, p99_ms, 100.0, 0.5)


def test_recovery_lasts_until_every_later_window_is_as_before():
    windows = [
        stretch("overload", 9.5, p99_ms=900),
        stretch("after", 10.0),
        stretch("after", 10.5, p99_ms=800),
        stretch("after", 11.0, answered=50),
        stretch("after", 11.5),
        stretch("after", 12.0),
    ]
    assert recovery_s(windows, stretch("before"), stretch("after", 10.0)) == 1.5


def test_what_never_recovers_is_not_given_a_time():
    windows = [stretch("after", 10.0), stretch("after", 10.5, answered=10)]
    assert recovery_s(windows, stretch("before"), stretch("after", 10.0)) is None


def test_a_window_without_answers_is_not_itself():
    assert not is_itself(Stretch("after", 0, 1, due=10), 50)


def test_a_rate_that_was_not_reached_is_said():
    load = Stretch("overload", 0, 2.0, due=2000, sent=1000, outcomes={"answered": 300}, server_cpu=0.5)
    told = Told([stretch("before"), load, stretch("after", 2.0)], [], 0, 0.0, 0.1, 10)
    found = judged(told, stretch("peak", answered=200), times=5)
    assert (found["asked_per_second"], found["offered_per_second"]) == (1000, 500)
    assert found["offered_as_asked"] is False
    assert found["goodput_of_peak"] == 0.75
