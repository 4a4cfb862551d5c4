"""The reference client passes every scenario, and each check that it might lack is missed by one."""

import json
import subprocess
import sys

import pytest

from sdk_contract.conformance.reference import execute
from sdk_contract.conformance.runner import chosen, play, play_all
from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.conformance.sdk import CommandSdk, InProcessSdk
from tests.sdk_contract.conformance.broken import CHECKS

REFERENCE = f"{sys.executable} -m sdk_contract.conformance.reference"
OF_PROCESSES = {
    "living.model-kills-the-process",
    "living.killed-while-downloading",
    "living.killed-while-reporting",
    "living.killed-while-asking",
    "living.killed-again-and-again",
}
SLICES = 6


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in SCENARIOS if scenario.name not in OF_PROCESSES],
    ids=lambda scenario: scenario.name,
)
def test_the_reference_client_passes(scenario):
    result = play(scenario, InProcessSdk(execute))
    assert result.verdict == "passed", f"{scenario.text} {result.message}"


@pytest.mark.timeout(300)
def test_the_reference_command_survives_the_death_of_its_process():
    stories = [scenario for scenario in SCENARIOS if scenario.name in OF_PROCESSES]
    results = play_all(stories, CommandSdk(REFERENCE))
    assert len(results) == len(OF_PROCESSES)
    assert {result.scenario.name: result.message for result in results if result.verdict != "passed"} == {}


def test_there_are_at_least_a_hundred_scenarios_with_names_of_their_own():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) >= 100
    assert len(set(names)) == len(names)
    assert all(scenario.text.endswith((".", "?")) for scenario in SCENARIOS)
    assert len(chosen(SCENARIOS, "rollback.*")) >= 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(SLICES))
def test_a_client_without_a_check_fails_the_scenarios_that_are_for_it(number):
    checks = sorted(CHECKS)[number::SLICES]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sdk_contract.conformance.broken", *checks],
        capture_output=True,
        check=True,
        text=True,
    )
    failed = {}
    for line in done.stdout.splitlines():
        failed |= json.loads(line)
    assert {check: sorted(failed.get(check, {"no answer": done.stderr})) for check in checks} == {
        check: sorted(CHECKS[check][3]) for check in checks
    }


def test_every_check_has_a_scenario():
    assert all(names for *_, names in CHECKS.values())
