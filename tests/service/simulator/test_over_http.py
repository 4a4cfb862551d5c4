import asyncio
import json
import random

import pytest

from service.cli.errors import CliError
from service.simulator.devices import create_fleet
from service.simulator.engine import MEAN_POLL_FACTOR, Simulation
from service.simulator.over_http import AcceleratedClock, HttpTransport, enroll, run
from service.simulator.scenario import Scenario

HOUR = 3600
RESPONSE = {"need_update": False, "reason": "up_to_date", "next_poll_s": HOUR}


class SlowServer:
    """Answers each poll after some seconds, and records how many are waiting at most."""

    def __init__(self, seconds, status=200, response=RESPONSE):
        self.seconds, self.status, self.response = seconds, status, json.dumps(response).encode()
        self.waiting = self.most_waiting = 0

    async def post(self, _device, _path, _body):
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        # A slow server, on purpose.
        await asyncio.sleep(self.seconds)
        self.waiting -= 1
        return self.status, self.response


class UnreachableServer:
    """Never answers."""

    async def post(self, _device, _path, _body):
        raise ConnectionError


def simulate(server, rate, seconds, count=200, stop=None):
    rng = random.Random(3)

    async def run_simulation():
        clock = AcceleratedClock(HOUR * MEAN_POLL_FACTOR * rate / count)
        fleet = create_fleet(Scenario(), count, rng)
        simulation = Simulation(Scenario(), fleet, server, clock, rng, poll_interval_s=HOUR)
        await run(simulation, rate, seconds, stop or asyncio.Event())
        return simulation

    return asyncio.run(run_simulation())


def test_the_rate_is_kept_if_responses_take_longer_than_the_time_between_two_polls():
    server = SlowServer(0.2)
    simulation = simulate(server, rate=100, seconds=3)
    # At 100 polls per second that take 0.2 s each, 20 are waiting.
    assert server.most_waiting > 10
    assert simulation.statistics.polls <= 302


def test_the_rate_is_never_exceeded_however_many_polls_are_due():
    # Time passes so fast that all devices are due again at once.
    server = SlowServer(0.0, 503, {"code": "unavailable", "retry_after_s": 0})
    simulation = simulate(server, rate=100, seconds=2)
    assert simulation.statistics.polls <= 100 * 2 + 2


def test_retry_after_is_in_real_seconds():
    server = SlowServer(0.0, 503, {"code": "unavailable", "retry_after_s": 60})
    simulation = simulate(server, rate=200, seconds=2, count=100)
    assert simulation.statistics.polls == simulation.statistics.statuses[503] <= 100


def test_requests_without_a_response_are_counted_apart_from_lost_ones_and_not_repeated_at_once():
    statistics = simulate(UnreachableServer(), rate=50, seconds=1).statistics
    assert 0 < statistics.failed_requests == statistics.polls <= 52
    assert statistics.lost_requests == 0


def test_a_stopped_run_sends_nothing_more():
    stop = asyncio.Event()
    stop.set()
    assert simulate(SlowServer(0.0), rate=50, seconds=1000, stop=stop).statistics.polls == 0


def test_a_server_that_cannot_be_reached_is_named_with_a_hint():
    transport = HttpTransport("http://127.0.0.1:9")
    fleet = create_fleet(Scenario(), 3, random.Random(1))
    with pytest.raises(CliError, match=r"127\.0\.0\.1:9 .*graylag up"):
        asyncio.run(enroll(transport, fleet, "token", asyncio.Event()))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://"])
def test_a_url_of_another_scheme_is_rejected(url):
    with pytest.raises(CliError, match="not an http or https URL"):
        HttpTransport(url)
