import asyncio
import json
import random
from collections import Counter

import pytest

from sdk_contract.wire import Event, PollRequest
from service.cli.http import CliError
from service.cli.simulate.devices import fleet, outcome, recorded, report
from service.cli.simulate.engine import POLL, Simulation
from service.cli.simulate.scenario import Fate, Outage, Scenario, load, names
from service.cli.simulate.stepping import SetTime, run
from service.domain.load import Load, come_back_s, next_poll_s

HOUR = 3600


class Server:
    """Answers as a server would, from memory; may be late, and then turns devices away."""

    def __init__(self, time, rng, *, offers=False, poll_s=HOUR):
        self.time, self.rng, self.offers, self.poll_s = time, rng, offers, poll_s
        self.late_until_s = 0.0
        self.reports = Counter()
        self.updated = set()

    async def post(self, device, path, body):
        if self.time.now_s < self.late_until_s:
            problem = {"code": "unavailable", "retry_after_s": come_back_s(self.rng.random())}
            return 503, json.dumps(problem).encode()
        if path != POLL:
            events = [Event.model_validate(one) for one in json.loads(body)]
            self.reports[events[-1].state] += 1
            return 202, b"{}"
        PollRequest.model_validate_json(body)
        offered = self.offers and device.id not in self.updated
        self.updated.add(device.id)
        answer = {
            "need_update": offered,
            "target_version": "v2",
            "reason": "update" if offered else "up_to_date",
            "attempt_id": "a" if offered else None,
            "downloads": [{"keep": False, "ways": [{"size": 10_000_000}]}],
            "next_poll_s": next_poll_s(self.poll_s, Load(), self.rng.random()),
        }
        return 200, json.dumps(answer).encode()


def simulate(scenario, count, hours, **server):
    rng, time = random.Random(7), SetTime()
    line = Server(time, rng, **server)
    running = Simulation(scenario, fleet(scenario, count, rng), line, time, rng)
    asyncio.run(run(running, time, hours * HOUR))
    return running, line


def spike(running, after_min):
    """The busiest minute after a moment, in proportion to the mean of all."""
    minutes = running.tally.minutes
    mean = sum(minutes.values()) / (max(minutes) + 1)
    return max(count for minute, count in minutes.items() if minute >= after_min) / mean


def test_a_fleet_polls_as_often_as_it_is_told_and_evenly():
    running, _ = simulate(Scenario(poll_s=HOUR), 3000, 12)
    assert running.tally.polls == pytest.approx(3000 * 12 / 1.1, rel=0.03)
    assert running.tally.spike() < 1.6


def test_the_end_of_an_outage_is_spread_over_minutes():
    scenario = Scenario(poll_s=HOUR, outages=(Outage(from_hour=3, minutes=30),))
    running, _ = simulate(scenario, 3000, 8)
    assert running.tally.unanswered > 1000
    # Retries while nobody answers are no work for anybody; what counts is from the first answer on. Half of the
    # fleet has failed by then: if all of it came in one minute, that would be thirty times the usual.
    assert spike(running, 3.5 * 60) < 7


def test_the_start_of_a_rollout_makes_no_spike():
    running, _ = simulate(Scenario(poll_s=HOUR), 3000, 8, offers=True)
    assert running.tally.offers == 3000
    assert running.tally.spike() < 1.8


def test_reports_reach_the_server_and_say_what_the_scenario_wants():
    scenario = Scenario(poll_s=HOUR, fates={"v2": Fate(failed=0.2, rolled_back=0.1, silent=0.1)})
    running, line = simulate(scenario, 1000, 3, offers=True)
    assert running.tally.outcomes["silent"] == pytest.approx(100, abs=40)
    reported = {name: count for name, count in running.tally.outcomes.items() if name != "silent"}
    assert line.reports == reported
    assert Counter(one.version for one in running.devices)["v2"] == reported["committed"]


def test_old_clients_send_what_they_always_sent_and_are_understood():
    scenario = Scenario(poll_s=HOUR, old_clients=1.0, clock_skew_s=60)
    running, line = simulate(scenario, 200, 3, offers=True)
    assert all(one.old for one in running.devices)
    assert sum(line.reports.values()) == 200
    for poll in recorded():
        PollRequest.model_validate(poll)


def test_the_same_seed_is_the_same_fleet():
    one, other = (fleet(load("gentle"), 50, random.Random(3)) for _ in range(2))
    assert one == other


def test_every_scenario_of_ours_can_be_read():
    assert names() == ["bad-model", "gentle", "outage"]
    assert [load(name).hours > 0 for name in names()] == [True] * 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("hours: -1", "hours"),
        ("fates: {v2: {failed: 2}}", "fates.v2.failed"),
        ("colour: red", "colour: there is no such field; take it out; there are model, hours, poll_s"),
        ("pol_s: 60", r"pol_s: there is no such field; did you mean poll_s\?"),
        ("networks: {wifi: {los: 0.1}}", r"networks.wifi.los: .*did you mean loss\?"),
        ("- 1", "the file: "),
        ("[", "one.yaml"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused_with_its_field(tmp_path, content, told):
    path = tmp_path / "one.yaml"
    path.write_text(content)
    with pytest.raises(CliError, match=told):
        load(str(path))


def test_outcomes_come_in_the_shares_of_the_scenario():
    scenario = Scenario(fates={"v2": Fate(failed=0.5, silent=0.25)})
    drawn = Counter(outcome(scenario, "v2", number / 100) for number in range(100))
    assert drawn == {"failed": 50, "silent": 25, "committed": 25}
    assert outcome(scenario, "v3", 0.0) == "committed"


def test_a_report_is_one_that_the_contract_takes():
    rng = random.Random(1)
    device = fleet(Scenario(), 1, rng)[0]
    events = [Event.model_validate(one) for one in json.loads(report(device, "a", "failed", 9, 1e9, rng))]
    assert [event.state for event in events][-1] == "failed"
    assert [event.seq for event in events] == list(range(len(events)))


def test_a_restart_of_the_api_makes_no_spike():
    """Who comes while it is away tries again spread out; the others do not notice."""
    scenario = Scenario(poll_s=HOUR, outages=(Outage(from_hour=3, minutes=1),))
    running, _ = simulate(scenario, 3000, 8)
    assert 0 < running.tally.unanswered < 3000 * 8 / 60
    assert spike(running, 3 * 60) < 2.5


def test_devices_that_were_started_at_the_same_moment_drift_apart():
    """Jitter: after a day of hourly polls, a fleet that began in one minute is spread over an hour and more."""
    rng = random.Random(7)
    moments = [0.0] * 3000
    for _ in range(48):
        moments = [at + next_poll_s(HOUR, Load(), rng.random()) for at in moments]
    busiest = Counter(int(at % HOUR) // 60 for at in moments).most_common(1)[0][1]
    # One minute of an hour has a sixtieth of an even load; together they began with all of it.
    assert busiest / 3000 < 0.1


def test_a_whole_fleet_that_is_turned_away_at_once_comes_back_evenly():
    rng = random.Random(7)
    seconds = Counter(come_back_s(rng.random()) for _ in range(30_000))
    assert max(seconds.values()) < 1.3 * 30_000 / len(seconds)
    assert len(seconds) >= 30
