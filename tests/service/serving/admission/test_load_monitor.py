import pytest

from service.domain.platform.load import Load
from service.serving.admission.load_monitor import MIN_REQUESTS, SAMPLE_INTERVAL_S, LoadMonitor


def sample(monitor, wall_s, cpu_s, requests=MIN_REQUESTS):
    """Record `requests` requests, then one sample."""
    for _ in range(requests):
        monitor.count_request()
    monitor.record_sample(wall_s, cpu_s)


def test_a_late_event_loop_with_few_requests_is_not_load():
    monitor = LoadMonitor()
    for _ in range(20):
        sample(monitor, SAMPLE_INTERVAL_S + 5, 5, requests=3)
    assert monitor.load.late_s == 0


def test_a_process_on_time_is_busy_but_not_late():
    monitor = LoadMonitor()
    for _ in range(20):
        sample(monitor, SAMPLE_INTERVAL_S, SAMPLE_INTERVAL_S)
    assert monitor.load.busy > 0.9
    assert monitor.load.late_s == 0


def test_one_late_sample_raises_the_load_and_several_lower_it_again():
    monitor = LoadMonitor()
    sample(monitor, SAMPLE_INTERVAL_S + 2, 2)
    assert monitor.load.late_s == pytest.approx(2)
    sample(monitor, SAMPLE_INTERVAL_S, 0)
    assert monitor.load.late_s == pytest.approx(1.6)
    for _ in range(12):
        sample(monitor, SAMPLE_INTERVAL_S, 0)
    assert monitor.load.late_s < 0.25


def test_an_overridden_load_ignores_samples():
    monitor = LoadMonitor()
    monitor.override(Load())
    sample(monitor, SAMPLE_INTERVAL_S + 2, 2)
    assert monitor.load == Load()
