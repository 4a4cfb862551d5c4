from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.rollouts.retry_window import MAX_POLL_LATENESS, RetryWindow, retry_delay_s

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POLL_S = 21_600


def window(wait_s, duration_s):
    return RetryWindow(NOW + timedelta(seconds=wait_s), timedelta(seconds=duration_s))


def test_a_device_polls_inside_the_window():
    assert retry_delay_s(window(3600, 7200), NOW, POLL_S, 0.0) == 3600
    assert 3600 < retry_delay_s(window(3600, 7200), NOW, POLL_S, 1.0) <= 3600 + 7200


def test_the_polls_of_a_fleet_are_spread():
    delays = [retry_delay_s(window(600, 7200), NOW, POLL_S, part / 10) for part in range(11)]
    assert max(delays) - min(delays) > 3600


def test_the_delay_is_at_most_the_poll_interval():
    assert retry_delay_s(window(100_000, 7200), NOW, POLL_S, 0.5) == POLL_S


def test_a_window_that_has_opened_needs_no_delay():
    assert retry_delay_s(window(-60, 600), NOW, POLL_S, 0.0) == 0


@given(st.floats(0, 21_600), st.floats(60, 86_400), st.floats(0, 1), st.floats(0, MAX_POLL_LATENESS))
def test_a_late_device_still_finds_the_window_open(wait_s, duration_s, chance, lateness):
    """It may poll several times before, and never only after the window has closed."""
    delay = retry_delay_s(window(wait_s, duration_s), NOW, POLL_S, chance) * (1 + lateness)
    assert delay <= wait_s + duration_s + 1e-6
