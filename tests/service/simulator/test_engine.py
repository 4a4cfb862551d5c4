import asyncio
import json
import random
from collections import Counter

import pytest

from sdk_contract.wire import Event, PollRequest
from service.domain.platform.load import Load, next_poll_s
from service.simulator.devices import create_fleet, draw_outcome, recorded_polls, report_body
from service.simulator.engine import Simulation
from service.simulator.scenario import Outage, OutcomeShares, Scenario, load
from service.simulator.virtual_clock import VirtualClock, run
from service.testbed.devices import POLL

HOUR = 3600


class FakeServer:
    """A transport that answers from memory."""

    def __init__(self, clock, rng, *, offers=False):
        self.clock, self.rng, self.offers = clock, rng, offers
        self.reports: Counter[str] = Counter()
        self.updated = set()

    async def post(self, device, path, body):
        if path != POLL:
            events = [Event.model_validate(one) for one in json.loads(body)]
            self.reports[events[-1].state] += 1
            return 202, b"{}"
        PollRequest.model_validate_json(body)
        offered = self.offers and device.id not in self.updated
        self.updated.add(device.id)
        response = {
            "need_update": offered,
            "target_version": "v2",
            "reason": "update" if offered else "up_to_date",
            "attempt_id": "a" if offered else None,
            "downloads": [{"keep": False, "options": [{"size": 10_000_000}]}],
            "next_poll_s": next_poll_s(HOUR, Load(), self.rng.random()),
        }
        return 200, json.dumps(response).encode()


def simulate(scenario, count, hours, **server_options):
    rng, clock = random.Random(7), VirtualClock()
    server = FakeServer(clock, rng, **server_options)
    simulation = Simulation(scenario, create_fleet(scenario, count, rng), server, clock, rng)
    asyncio.run(run(simulation, clock, hours * HOUR))
    return simulation, server


def peak_after(simulation, minute):
    """Polls of the busiest minute from `minute` on, relative to the mean of all minutes."""
    minutes = simulation.statistics.polls_per_minute
    mean = sum(minutes.values()) / (max(minutes) + 1)
    return max(count for one, count in minutes.items() if one >= minute) / mean


def test_a_fleet_polls_at_the_interval_that_the_server_sends_evenly_spread():
    simulation, _ = simulate(Scenario(poll_interval_s=HOUR), 3000, 12)
    assert simulation.statistics.polls == pytest.approx(3000 * 12 / 1.1, rel=0.03)
    assert simulation.statistics.peak_to_mean() < 1.6


def test_polls_after_an_outage_are_spread_over_minutes():
    scenario = Scenario(poll_interval_s=HOUR, outages=(Outage(start_hour=3, minutes=30),))
    simulation, _ = simulate(scenario, 3000, 8)
    assert simulation.statistics.lost_requests > 1000
    # Half of the fleet has failed when the outage ends; if all of it polled in one minute, that would be thirty
    # times the mean.
    assert peak_after(simulation, 3.5 * 60) < 7


def test_polls_after_a_restart_of_the_api_are_spread_over_minutes():
    scenario = Scenario(poll_interval_s=HOUR, outages=(Outage(start_hour=3, minutes=1),))
    simulation, _ = simulate(scenario, 3000, 8)
    assert 0 < simulation.statistics.lost_requests < 3000 * 8 / 60
    assert peak_after(simulation, 3 * 60) < 2.5


def test_the_start_of_a_rollout_causes_no_peak_of_polls():
    simulation, _ = simulate(Scenario(poll_interval_s=HOUR), 3000, 8, offers=True)
    assert simulation.statistics.offers == 3000
    assert simulation.statistics.peak_to_mean() < 1.8


def test_reports_have_the_outcomes_of_the_scenario():
    shares = {"v2": OutcomeShares(failed=0.2, rolled_back=0.1, silent=0.1)}
    scenario = Scenario(poll_interval_s=HOUR, outcomes=shares)
    simulation, server = simulate(scenario, 1000, 3, offers=True)
    outcomes = simulation.statistics.outcomes
    assert outcomes["silent"] == pytest.approx(100, abs=40)
    reported = {name: count for name, count in outcomes.items() if name != "silent"}
    assert server.reports == reported
    assert Counter(device.version for device in simulation.devices)["v2"] == reported["committed"]
    assert simulation.result()["versions"]["v2"] == reported["committed"]


def test_requests_of_earlier_releases_are_valid_and_get_offers():
    scenario = Scenario(poll_interval_s=HOUR, old_clients=1.0, clock_skew_s=60)
    simulation, server = simulate(scenario, 200, 3, offers=True)
    assert all(device.legacy_poll for device in simulation.devices)
    assert sum(server.reports.values()) == 200
    for poll in recorded_polls():
        PollRequest.model_validate(poll)


def test_the_same_seed_gives_the_same_fleet():
    one, other = (create_fleet(load("gentle"), 50, random.Random(3)) for _ in range(2))
    assert one == other


def test_outcomes_are_drawn_in_the_shares_of_the_scenario():
    scenario = Scenario(outcomes={"v2": OutcomeShares(failed=0.5, silent=0.25)})
    drawn = Counter(draw_outcome(scenario, "v2", number / 100) for number in range(100))
    assert drawn == {"failed": 50, "silent": 25, "committed": 25}
    assert draw_outcome(scenario, "v3", 0.0) == "committed"


def test_a_report_is_valid_by_the_contract():
    rng = random.Random(1)
    device = create_fleet(Scenario(), 1, rng)[0]
    body = report_body(device, "a", "failed", size=9, epoch_s=1e9, rng=rng)
    events = [Event.model_validate(one) for one in json.loads(body)]
    assert [event.state for event in events][-1] == "failed"
    assert [event.seq for event in events] == list(range(len(events)))


def test_jitter_spreads_devices_that_started_in_the_same_minute():
    rng = random.Random(7)
    due = [0.0] * 3000
    for _ in range(48):
        due = [at + next_poll_s(HOUR, Load(), rng.random()) for at in due]
    busiest = Counter(int(at % HOUR) // 60 for at in due).most_common(1)[0][1]
    # An even load has a sixtieth of the polls in each minute; at the start one minute had all of them.
    assert busiest / 3000 < 0.1
