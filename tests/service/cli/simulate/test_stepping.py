import asyncio
import json
import random
from datetime import timedelta

import pytest

from service.cli.simulate.devices import fleet
from service.cli.simulate.engine import Simulation
from service.cli.simulate.scenario import Scenario
from service.cli.simulate.stepping import STEP_S, SetTime, run

HOUR = 3600
ANSWER = {"need_update": False, "reason": "up_to_date", "next_poll_s": HOUR}


class Slow:
    """Answers after the others have asked, as a server does that commits for all of them at once."""

    def __init__(self, time):
        self.time = time
        self.under_way = self.most = 0
        self.moments = []

    async def post(self, _device, _path, _body):
        asked = self.time.moment()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.moments.append((asked, self.time.moment()))
        return 200, json.dumps(ANSWER).encode()


def simulated(count, hours, looks=(), stop_after=None):
    time, rng = SetTime(), random.Random(5)
    line = Slow(time)
    simulation = Simulation(Scenario(poll_s=HOUR), fleet(Scenario(), count, rng), line, time, rng)

    async def go():
        stop = asyncio.Event()

        async def end():
            if time.now_s >= stop_after:
                stop.set()

        ends = [(0.0, end)] if stop_after else []
        await run(simulation, time, hours * HOUR, [*looks, *ends], stop=stop)

    asyncio.run(go())
    return simulation, line, time


def test_what_is_due_within_a_step_is_under_way_together():
    _, line, _ = simulated(120, 2)
    assert line.most >= 120 * STEP_S / HOUR / 2


def test_every_request_keeps_its_own_moment_while_others_have_theirs():
    _, line, _ = simulated(120, 2)
    assert all(asked == answered for asked, answered in line.moments)
    assert len({asked for asked, _ in line.moments}) == len(line.moments)


def test_time_is_at_the_end_when_all_has_happened():
    simulation, line, time = simulated(50, 3)
    assert time.now_s == 3 * HOUR
    assert simulation.result()["simulated_hours"] == 3
    assert time.seconds_at(time.moment()) == pytest.approx(3 * HOUR)
    assert max(asked for asked, _ in line.moments) < time.moment() + timedelta(seconds=1)


def test_what_happens_beside_the_devices_happens_as_often_as_it_is_wanted():
    seen, time = [], None

    async def look():
        seen.append(1)

    _, _, time = simulated(200, 4, looks=[(HOUR, look)])
    assert time.now_s == 4 * HOUR
    assert len(seen) == 3


def test_who_stops_it_has_the_result_so_far():
    simulation, _, time = simulated(100, 24, stop_after=2 * HOUR)
    assert 2 * HOUR <= time.now_s < 2 * HOUR + 2 * STEP_S
    assert simulation.result()["polls"] == simulation.tally.statuses[200] > 0
