import asyncio
import json
import random
import time

import pytest

from service.cli.http import CliError
from service.cli.simulate.devices import fleet
from service.cli.simulate.engine import MEAN_PATIENCE, Simulation
from service.cli.simulate.remote import HttpLine, RealTime, enrol, run
from service.cli.simulate.scenario import Scenario

HOUR = 3600
ANSWER = {"need_update": False, "reason": "up_to_date", "next_poll_s": HOUR}


class Late:
    """Answers each poll after so many seconds, and counts how many wait."""

    def __init__(self, seconds, status=200, answer=ANSWER):
        self.seconds, self.status, self.answer = seconds, status, json.dumps(answer).encode()
        self.under_way = self.most = 0
        self.asked = []

    async def post(self, _device, _path, _body):
        self.asked.append(time.monotonic())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        return self.status, self.answer


def driven(line, rate, seconds, count=200, stop=None):
    rng = random.Random(3)

    async def go():
        real = RealTime(HOUR * MEAN_PATIENCE * rate / count)
        simulation = Simulation(Scenario(), fleet(Scenario(), count, rng), line, real, rng, pause_s=HOUR)
        await run(simulation, rate, seconds, stop or asyncio.Event())
        return simulation

    return asyncio.run(go())


def test_the_rate_is_held_also_when_answers_take_longer_than_the_pause_between_two_polls():
    line = Late(0.2)
    simulation = driven(line, rate=100, seconds=3)
    # A hundred a second that take a fifth of one each: twenty are on their way.
    assert line.most > 10
    assert simulation.tally.polls <= 302


def test_the_rate_is_never_exceeded_however_many_are_due():
    refused = {"code": "unavailable", "retry_after_s": 0}
    line = Late(0.0, 503, refused)
    simulation = driven(line, rate=100, seconds=2)
    # All of them come back at once, since in their sped-up time any pause is short.
    assert simulation.tally.polls <= 100 * 2 + 2


def test_a_pause_that_the_server_asks_for_is_one_of_its_own_seconds():
    line = Late(0.0, 503, {"code": "unavailable", "retry_after_s": 60})
    simulation = driven(line, rate=200, seconds=2, count=100)
    assert simulation.tally.polls == simulation.tally.statuses[503] <= 100


class Gone:
    """A server that has been there."""

    async def post(self, _device, _path, _body):
        raise ConnectionError


def test_a_server_that_goes_away_is_told_from_what_the_scenario_loses_and_is_not_stormed():
    tally = driven(Gone(), rate=50, seconds=1).tally
    assert 0 < tally.unreachable == tally.polls <= 52
    assert tally.unanswered == 0


def test_who_stops_it_waits_for_no_more_than_the_answers_that_are_under_way():
    stop = asyncio.Event()
    stop.set()
    assert driven(Late(0.0), rate=50, seconds=1000, stop=stop).tally.polls == 0


def test_a_server_that_is_not_there_is_named_with_what_to_do():
    line = HttpLine("http://127.0.0.1:9")
    with pytest.raises(CliError, match=r"127\.0\.0\.1:9 .*graylag up"):
        asyncio.run(enrol(line, fleet(Scenario(), 3, random.Random(1)), "token", asyncio.Event()))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(CliError, match="no http"):
        HttpLine(url)
