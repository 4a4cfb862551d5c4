from datetime import UTC, datetime, timedelta

import pytest

from sdk_contract.client import Agent
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from tests.sdk_contract.client.conftest import fine_tuned, settings, weights

BASE = weights(1, 60_000)
NEXT = fine_tuned(BASE)


class ProcessKilled(BaseException):
    """The process ends during a load."""


class ControlledHost(StaticHost):
    """A host with an adjustable clock, which knows whether the system killed the last process."""

    def __init__(self):
        self.ahead, self.killed = timedelta(0), False

    def now(self):
        return datetime.now(UTC) + self.ahead

    def killed_by_system(self):
        return self.killed


class CrashingRuntime:
    """A runtime that ends its process a number of times."""

    def __init__(self, times):
        self.left, self.opened = times, []

    def load(self, installed):
        self.opened.append(installed.version)
        if self.left:
            self.left -= 1
            raise ProcessKilled
        return installed

    def smoke_test(self, _loaded):
        return {}

    def close(self, loaded):
        """Do nothing."""


@pytest.fixture
def host():
    return ControlledHost()


@pytest.fixture
def open_agent(server, enroll, host):
    """Reopen one device's directory, as after a restart. The device runs v1, and the server offers v2."""
    server.publish("v1", 1, {"backbone": BASE})
    server.publish("v2", 2, {"backbone": NEXT})
    directory = enroll("v1")._store.directory
    server.target = "v2"

    def reopen(probation_s=0.0):
        chosen = settings(host=host)
        trial = TrialPolicy(probation_s=probation_s)
        return Agent(
            directory, type(chosen)(chosen.file_system, host, chosen.download_limits, chosen.sleep, trial)
        )

    return reopen


def test_two_crashes_during_the_load_roll_back_without_another_load(server, open_agent):
    runtime = CrashingRuntime(times=9)
    for _ in range(2):
        with pytest.raises(ProcessKilled):
            open_agent().update(runtime)
        assert open_agent().installed().version == "v1"
    result = open_agent().update(runtime)
    assert (result.status, result.code, result.version) == ("rolled_back", "crash_loop", "v1")
    assert runtime.opened == ["v2", "v2"]
    assert server.events[-1].code == "crash_loop"


def test_one_crash_during_the_load_is_retried(server, open_agent):
    runtime = CrashingRuntime(times=1)
    with pytest.raises(ProcessKilled):
        open_agent().update(runtime)
    polls = len(server.polls)
    assert open_agent().update(runtime).status == "updated"
    assert len(server.polls) == polls, "all files were on disk, so no poll is needed"


def test_a_process_killed_by_the_system_is_no_failed_start(open_agent, host):
    runtime = CrashingRuntime(times=5)
    host.killed = True
    for _ in range(5):
        with pytest.raises(ProcessKilled):
            open_agent().update(runtime)
    assert open_agent().update(runtime).status == "updated"


def test_an_intentional_exit_is_no_failed_start(open_agent):
    class Stopped(CrashingRuntime):
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


def test_a_version_on_probation_is_committed_by_a_good_health_report(server, open_agent):
    agent = open_agent(probation_s=60)
    assert agent.update().status == "probation"
    assert "committed" not in server.states
    assert agent.begin_start().version == "v2"
    agent.confirm_start()
    result = agent.report_health(good=True, metrics={"quality": 0.9})
    assert (result.status, result.version) == ("updated", "v2")
    agent.send_events()
    assert server.states[-1] == "committed"
    assert server.events[-1].metrics == {"quality": 0.9}


def test_a_bad_health_report_rolls_back(server, open_agent):
    agent = open_agent(probation_s=60)
    agent.update()
    result = agent.report_health(good=False, detail="answers are garbled")
    assert (result.status, result.code) == ("rolled_back", "app_rejected")
    assert open_agent(probation_s=60).installed().version == "v1"


def test_an_app_that_does_not_confirm_its_starts_gets_the_old_version(open_agent):
    open_agent(probation_s=60).update()
    assert [open_agent(probation_s=60).begin_start().version for _ in range(4)] == ["v2", "v2", "v1", "v1"]
    assert list(open_agent().status()["blocklist"].values()) == ["crash_loop"]


def test_confirmed_starts_are_no_failed_starts(open_agent):
    open_agent(probation_s=60).update()
    for _ in range(5):
        agent = open_agent(probation_s=60)
        assert agent.begin_start().version == "v2"
        agent.confirm_start()


def test_starts_killed_by_the_system_are_no_failed_starts(open_agent, host):
    open_agent(probation_s=60).update()
    host.killed = True
    assert {open_agent(probation_s=60).begin_start().version for _ in range(6)} == {"v2"}


def test_probation_without_a_health_report_rolls_back(server, open_agent, host):
    agent = open_agent(probation_s=60)
    agent.update()
    assert agent.update().status == "probation"
    host.ahead = timedelta(seconds=61)
    result = agent.update()
    assert (result.status, result.code, result.version) == ("rolled_back", "health_timeout", "v1")


def test_the_probation_time_counts_from_the_last_start(open_agent, host):
    agent = open_agent(probation_s=60)
    agent.update()
    host.ahead = timedelta(days=3)
    agent.begin_start()
    assert agent.update().status == "probation"


def test_the_server_can_order_a_rollback_during_probation(server, open_agent):
    agent = open_agent(probation_s=60)
    agent.update()
    server.target, server.action, server.attempt = "v1", "rollback", "attempt-2"
    result = agent.update()
    assert (result.status, result.version) == ("up_to_date", "v1")
    assert [event.state for event in server.events[-2:]] == ["rolled_back", "committed"]


def test_without_probation_a_health_report_changes_nothing(open_agent):
    agent = open_agent()
    agent.update()
    assert agent.report_health(good=False, detail="too late") is None
    assert agent.begin_start().version == "v2"
