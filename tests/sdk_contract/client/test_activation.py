from datetime import UTC, datetime, timedelta

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.activation import Trial
from sdk_contract.client.host import PlainHost
from tests.sdk_contract.client.conftest import settings, tuned, weights

BASE = weights(1, 60_000)
NEXT = tuned(BASE)


class Killed(BaseException):
    """The process is gone in the middle of a load."""


class Watch(PlainHost):
    """A clock that tests can turn, on a platform that knows why the last process ended."""

    def __init__(self):
        self.ahead, self.killed = timedelta(0), False

    def now(self):
        return datetime.now(UTC) + self.ahead

    def killed_by_system(self):
        return self.killed


class Deadly:
    """A runtime that takes its process with it, so many times."""

    def __init__(self, times):
        self.left, self.opened = times, []

    def load(self, installed):
        self.opened.append(installed.version)
        if self.left:
            self.left -= 1
            raise Killed
        return installed

    def smoke_test(self, _loaded):
        return {}

    def close(self, loaded):
        """Nothing is held."""


@pytest.fixture
def host():
    return Watch()


@pytest.fixture
def open_agent(server, enrol, host):
    """Opens the directory of one device anew, as a restart does; v2 is offered, v1 runs."""
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    directory = enrol("v1")._store.directory
    server.target = "v2"

    def reopen(probation_s=0.0):
        chosen = settings(host=host)
        trial = Trial(probation_s=probation_s)
        return Agent(directory, type(chosen)(chosen.files, host, chosen.limits, chosen.pause, trial))

    return reopen


def test_two_processes_that_die_in_the_load_bring_the_old_version_back_unopened(server, open_agent):
    runtime = Deadly(times=9)
    for _ in range(2):
        with pytest.raises(Killed):
            open_agent().update(runtime)
        assert open_agent().installed().version == "v1"
    outcome = open_agent().update(runtime)
    assert (outcome.status, outcome.code, outcome.version) == ("rolled_back", "crash_loop", "v1")
    assert runtime.opened == ["v2", "v2"]
    assert server.events[-1].code == "crash_loop"


def test_one_process_that_dies_in_the_load_is_forgiven(server, open_agent):
    runtime = Deadly(times=1)
    with pytest.raises(Killed):
        open_agent().update(runtime)
    polls = len(server.polls)
    assert open_agent().update(runtime).status == "updated"
    assert len(server.polls) == polls, "all bytes were here: no network is needed to go on"


def test_a_process_killed_by_the_system_is_no_strike_against_the_model(open_agent, host):
    runtime = Deadly(times=5)
    host.killed = True
    for _ in range(5):
        with pytest.raises(Killed):
            open_agent().update(runtime)
    assert open_agent().update(runtime).status == "updated"


def test_an_orderly_end_is_no_strike_against_the_model(open_agent):
    class Stopped(Deadly):
        def load(self, installed):
            if self.left:
                self.left -= 1
                raise KeyboardInterrupt
            return installed

    runtime = Stopped(times=5)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            open_agent().update(runtime)
    assert open_agent().update(runtime).status == "updated"


def test_on_probation_a_version_runs_but_is_committed_only_by_the_apps_good_word(server, open_agent):
    agent = open_agent(probation_s=60)
    assert agent.update().status == "probation"
    assert "committed" not in server.states
    assert agent.starting().version == "v2"
    agent.started()
    outcome = agent.report_health(good=True, metrics={"quality": 0.9})
    assert (outcome.status, outcome.version) == ("updated", "v2")
    agent.flush()
    assert server.states[-1] == "committed"
    assert server.events[-1].metrics == {"quality": 0.9}


def test_the_apps_bad_word_brings_the_old_version_back(server, open_agent):
    agent = open_agent(probation_s=60)
    agent.update()
    outcome = agent.report_health(good=False, detail="answers are garbled")
    assert (outcome.status, outcome.code) == ("rolled_back", "app_rejected")
    assert open_agent(probation_s=60).installed().version == "v1"


def test_an_app_that_does_not_survive_its_starts_gets_the_old_version(open_agent):
    open_agent(probation_s=60).update()
    assert [open_agent(probation_s=60).starting().version for _ in range(4)] == ["v2", "v2", "v1", "v1"]
    assert list(open_agent().status()["bad"].values()) == ["crash_loop"]


def test_starts_that_end_well_are_no_strikes(open_agent):
    open_agent(probation_s=60).update()
    for _ in range(5):
        agent = open_agent(probation_s=60)
        assert agent.starting().version == "v2"
        agent.started()


def test_starts_that_the_system_killed_are_no_strikes(open_agent, host):
    open_agent(probation_s=60).update()
    host.killed = True
    assert {open_agent(probation_s=60).starting().version for _ in range(6)} == {"v2"}


def test_probation_without_a_word_ends_in_the_old_version(server, open_agent, host):
    agent = open_agent(probation_s=60)
    agent.update()
    assert agent.update().status == "probation"
    host.ahead = timedelta(seconds=61)
    outcome = agent.update()
    assert (outcome.status, outcome.code, outcome.version) == ("rolled_back", "health_timeout", "v1")


def test_time_on_probation_counts_from_the_last_start(open_agent, host):
    agent = open_agent(probation_s=60)
    agent.update()
    host.ahead = timedelta(days=3)
    agent.starting()
    assert agent.update().status == "probation"


def test_the_server_can_recall_a_version_that_is_on_probation(server, open_agent):
    agent = open_agent(probation_s=60)
    agent.update()
    server.target, server.action, server.attempt = "v1", "rollback", "attempt-2"
    outcome = agent.update()
    assert (outcome.status, outcome.version) == ("up_to_date", "v1")
    assert [event.state for event in server.events[-2:]] == ["rolled_back", "committed"]


def test_without_probation_the_apps_word_changes_nothing(open_agent):
    agent = open_agent()
    agent.update()
    assert agent.report_health(good=False, detail="too late") is None
    assert agent.starting().version == "v2"
