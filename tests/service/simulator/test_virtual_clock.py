import asyncio
import json
import random
from datetime import timedelta

import pytest

from service.simulator.devices import create_fleet
from service.simulator.engine import Simulation
from service.simulator.scenario import Scenario
from service.simulator.virtual_clock import STEP_S, VirtualClock, run

HOUR = 3600
RESPONSE = {"need_update": False, "reason": "up_to_date", "next_poll_s": HOUR}


class BatchingServer:
    """Answers after the other requests of a step have arrived, and records the time before and after."""

    def __init__(self, clock):
        self.clock = clock
        self.waiting = self.most_waiting = 0
        self.times = []

    async def post(self, _device, _path, _body):
        before = self.clock.now()
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        # One turn of the event loop lets the other requests of the step arrive.
        await asyncio.sleep(0)
        self.waiting -= 1
        self.times.append((before, self.clock.now()))
        return 200, json.dumps(RESPONSE).encode()


def simulate(count, hours, periodic_tasks=(), stop_after_s=None):
    clock, rng = VirtualClock(), random.Random(5)
    server = BatchingServer(clock)
    fleet = create_fleet(Scenario(), count, rng)
    simulation = Simulation(Scenario(poll_interval_s=HOUR), fleet, server, clock, rng)

    async def run_simulation():
        stop = asyncio.Event()

        async def stop_in_time():
            if clock.now_s >= stop_after_s:
                stop.set()

        stopping = [(0.0, stop_in_time)] if stop_after_s else []
        await run(simulation, clock, hours * HOUR, [*periodic_tasks, *stopping], stop=stop)

    asyncio.run(run_simulation())
    return simulation, server, clock


def test_requests_of_one_step_are_sent_concurrently():
    _, server, _ = simulate(120, 2)
    assert server.most_waiting >= 120 * STEP_S / HOUR / 2


def test_every_request_sees_its_own_time():
    _, server, _ = simulate(120, 2)
    assert all(before == after for before, after in server.times)
    assert len({before for before, _ in server.times}) == len(server.times)


def test_the_clock_shows_the_end_when_the_run_is_over():
    simulation, server, clock = simulate(50, 3)
    assert clock.now_s == 3 * HOUR
    assert simulation.result()["simulated_hours"] == 3
    assert clock.seconds_since_start(clock.now()) == pytest.approx(3 * HOUR)
    assert max(before for before, _ in server.times) < clock.now() + timedelta(seconds=1)


def test_periodic_tasks_run_at_their_interval():
    calls = []

    async def count():
        calls.append(1)

    _, _, clock = simulate(200, 4, periodic_tasks=[(HOUR, count)])
    assert clock.now_s == 4 * HOUR
    assert len(calls) == 3


def test_a_stopped_run_keeps_its_result_so_far():
    simulation, _, clock = simulate(100, 24, stop_after_s=2 * HOUR)
    assert 2 * HOUR <= clock.now_s < 2 * HOUR + 2 * STEP_S
    assert simulation.result()["polls"] == simulation.statistics.statuses[200] > 0
