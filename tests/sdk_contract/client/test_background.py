import threading

import pytest

from sdk_contract.client.background import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    BackgroundUpdater,
    first_poll_delay,
    next_poll_delay,
)
from sdk_contract.client.host.activator import FilesOnlyActivator
from sdk_contract.client.lifecycle.result import UpdateResult

NO_UPDATE = UpdateResult("none", "no_rollout", next_poll_s=300)
FAILURE = UpdateResult("failed", "unreachable", code="unreachable")


def test_after_a_success_the_servers_interval_is_never_shortened():
    delays = {next_poll_delay(NO_UPDATE, 0) for _ in range(200)}
    assert 300 <= min(delays) < max(delays) <= 360
    assert len(delays) > 150


def test_without_an_interval_from_the_server_the_default_is_six_hours():
    assert next_poll_delay(UpdateResult("none", "no_rollout"), 0) >= 6 * 3600


@pytest.mark.parametrize(("interval", "least", "most"), [(0.001, 1, 1.2), (10**9, 86_400, 1.2 * 86_400)])
def test_an_interval_out_of_range_is_clamped(interval, least, most):
    assert least <= next_poll_delay(UpdateResult("none", "x", next_poll_s=interval), 0) <= most


def test_a_waiting_device_polls_again_soon():
    assert next_poll_delay(UpdateResult("waiting", "conditions_unmet", next_poll_s=86_400), 0) <= 1.2 * 900


def test_failures_back_off_with_a_growing_range_up_to_a_limit():
    delay = 0.0
    for _ in range(200):
        before, delay = delay, next_poll_delay(FAILURE, delay)
        assert BACKOFF_BASE_S <= delay <= min(BACKOFF_CAP_S, max(BACKOFF_BASE_S, 3 * before))
    assert max(next_poll_delay(FAILURE, 1e9) for _ in range(50)) == BACKOFF_CAP_S


def test_a_busy_server_is_not_polled_before_its_retry_delay():
    busy = UpdateResult("failed", "server_busy", code="server_busy", retry_after_s=7200)
    assert next_poll_delay(busy, 0) == 7200


def test_the_first_poll_after_a_start_is_spread_over_a_tenth_of_the_interval():
    delays = [first_poll_delay(600) for _ in range(300)]
    assert 0 <= min(delays) < 15
    assert 45 < max(delays) <= 60
    assert max(first_poll_delay(10**6) for _ in range(50)) <= 600


def test_the_loop_passes_on_every_result_and_ends_when_stopped(server, enroll):
    agent, stop, received = enroll(), threading.Event(), []

    def handle_result(result):
        received.append(result.reason)
        stop.set()

    BackgroundUpdater(agent, FilesOnlyActivator(), stop, handle_result, poll_now=True).run()
    assert received == ["no_rollout"]
