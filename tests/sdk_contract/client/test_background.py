import threading

import pytest

from sdk_contract.client.background import (
    BACK_OFF_BASE_S,
    BACK_OFF_CAP_S,
    Background,
    first_delay,
    next_delay,
)
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.runtime import FilesOnly

FINE = Outcome("none", "no_rollout", next_poll_s=300)
BROKEN = Outcome("failed", "unreachable", code="unreachable")


def test_after_a_success_the_servers_period_holds_and_is_never_shortened():
    delays = {next_delay(FINE, 0) for _ in range(200)}
    assert 300 <= min(delays) < max(delays) <= 360
    assert len(delays) > 150


def test_a_server_that_says_no_period_gets_six_hours():
    assert next_delay(Outcome("none", "no_rollout"), 0) >= 6 * 3600


@pytest.mark.parametrize(("said", "least", "most"), [(0.001, 1, 1.2), (10**9, 86_400, 1.2 * 86_400)])
def test_a_period_out_of_bounds_is_brought_back_into_them(said, least, most):
    assert least <= next_delay(Outcome("none", "x", next_poll_s=said), 0) <= most


def test_a_device_that_waits_looks_again_soon():
    assert next_delay(Outcome("waiting", "conditions_unmet", next_poll_s=86_400), 0) <= 1.2 * 900


def test_failures_back_off_with_growing_room_and_a_ceiling():
    delay = 0.0
    for _ in range(200):
        before, delay = delay, next_delay(BROKEN, delay)
        assert BACK_OFF_BASE_S <= delay <= min(BACK_OFF_CAP_S, max(BACK_OFF_BASE_S, 3 * before))
    assert max(next_delay(BROKEN, 1e9) for _ in range(50)) == BACK_OFF_CAP_S


def test_a_busy_server_is_not_asked_again_before_it_said():
    busy = Outcome("failed", "http_5xx", code="http_5xx", retry_after_s=7200)
    assert next_delay(busy, 0) == 7200


def test_the_first_poll_after_a_start_falls_anywhere_in_a_tenth_of_the_period():
    delays = [first_delay(600) for _ in range(300)]
    assert 0 <= min(delays) < 15
    assert 45 < max(delays) <= 60
    assert max(first_delay(10**6) for _ in range(50)) <= 600


def test_the_loop_tells_every_outcome_and_ends_when_told(server, enrol):
    agent, stop, heard = enrol(), threading.Event(), []

    def tell(outcome):
        heard.append(outcome.reason)
        stop.set()

    Background(agent, FilesOnly(), stop, tell, eager=True).run()
    assert heard == ["no_rollout"]
