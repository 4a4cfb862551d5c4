from datetime import UTC, datetime, timedelta

from service.domain.rollouts.forecast import RolloutProgress, forecast
from service.domain.rollouts.policy import Pacing

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
GIB = 2**30


def progress(**known):
    values = {"devices_left": 1000, "bytes_left": 1000 * GIB, "per_hour": 200.0}
    return RolloutProgress(**(values | known))


def test_the_rate_of_the_devices_decides_if_it_is_below_the_limit():
    found = forecast(Pacing(max_bytes_per_hour=500 * GIB), progress(), NOW)
    assert (found.limited_by, found.per_hour) == ("devices", 200)
    assert found.done_at == NOW + timedelta(hours=5)


def test_the_limit_decides_if_it_is_below_the_rate_of_the_devices():
    found = forecast(Pacing(max_bytes_per_hour=100 * GIB), progress(), NOW)
    assert (found.limited_by, found.per_hour) == ("max_bytes_per_hour", 100)
    assert found.done_at == NOW + timedelta(hours=10)


def test_full_download_slots_are_named_as_the_limit():
    found = forecast(Pacing(max_open_downloads=10), progress(slots_full=True), NOW)
    assert (found.limited_by, found.done_at) == ("max_open_downloads", NOW + timedelta(hours=5))


def test_windows_reduce_what_the_limit_allows():
    found = forecast(Pacing(max_bytes_per_hour=100 * GIB), progress(open_share=0.25), NOW)
    assert found.done_at == NOW + timedelta(hours=40)


def test_there_is_no_end_without_a_rate_and_without_a_limit():
    assert forecast(Pacing(), progress(per_hour=0.0), NOW).done_at is None


def test_before_the_first_poll_the_limit_gives_the_earliest_end():
    assert forecast(Pacing(max_bytes_per_hour=100 * GIB), progress(per_hour=0.0), NOW).per_hour == 100


def test_a_rollout_without_devices_left_is_done():
    assert forecast(Pacing(), progress(devices_left=0, bytes_left=0), NOW).done_at == NOW
