from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.openings import LATENESS, Opening, aim

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLL_S = 21_600


def opening(away_s, lasts_s):
    return Opening(NOW + timedelta(seconds=away_s), timedelta(seconds=lasts_s))


def test_a_device_is_sent_into_the_window_that_it_waits_for():
    assert aim(opening(3600, 7200), NOW, POLL_S, 0.0) == 3600
    assert 3600 < aim(opening(3600, 7200), NOW, POLL_S, 1.0) <= 3600 + 7200


def test_a_fleet_does_not_come_at_once():
    waits = [aim(opening(600, 7200), NOW, POLL_S, part / 10) for part in range(11)]
    assert max(waits) - min(waits) > 3600


def test_nobody_sleeps_longer_than_usual():
    assert aim(opening(100_000, 7200), NOW, POLL_S, 0.5) == POLL_S


def test_a_moment_that_has_passed_is_now():
    assert aim(opening(-60, 600), NOW, POLL_S, 0.0) == 0


@given(st.floats(0, 21_600), st.floats(60, 86_400), st.floats(0, 1), st.floats(0, LATENESS))
def test_who_is_as_late_as_devices_may_be_still_finds_it_open(away_s, lasts_s, chance, late):
    """Called back on the way there as often as needed, and never after it has closed."""
    wait = aim(opening(away_s, lasts_s), NOW, POLL_S, chance) * (1 + late)
    assert wait <= away_s + lasts_s + 1e-6
