"""The reference client passes every scenario, and every check that a client might lack is noticed by one."""

import json
import subprocess
import sys

import pytest

from sdk_contract.conformance.reference import execute
from sdk_contract.conformance.runner import run_scenario, run_scenarios, select
from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.conformance.sdk import CommandSdk, InProcessSdk
from tests.sdk_contract.conformance.removed_checks import CHECKS

REFERENCE = f"{sys.executable} -m sdk_contract.conformance.reference"
NEED_A_PROCESS = {
    "resilience.crash-loop",
    "resilience.killed-while-downloading",
    "resilience.killed-while-reporting",
    "resilience.killed-while-polling",
    "resilience.killed-three-times",
}
SLICES = 6


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in SCENARIOS if scenario.name not in NEED_A_PROCESS],
    ids=lambda scenario: scenario.name,
)
def test_the_reference_client_passes_the_scenario(scenario):
    result = run_scenario(scenario, InProcessSdk(execute))
    assert result.verdict == "passed", f"{scenario.requirement} {result.message}"


@pytest.mark.timeout(300)
def test_the_reference_command_survives_being_killed():
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in NEED_A_PROCESS]
    results = run_scenarios(scenarios, CommandSdk(REFERENCE))
    assert len(results) == len(NEED_A_PROCESS)
    assert {result.scenario.name: result.message for result in results if result.verdict != "passed"} == {}


def test_there_are_at_least_a_hundred_scenarios_with_unique_names():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) >= 100
    assert len(set(names)) == len(names)
    assert all(scenario.requirement.endswith(".") for scenario in SCENARIOS)
    assert len(select(SCENARIOS, "rollback.*")) >= 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(SLICES))
def test_a_client_without_a_check_fails_the_scenarios_of_that_check(number):
    checks = sorted(CHECKS)[number::SLICES]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sdk_contract.conformance.broken_clients", *checks],
        capture_output=True,
        check=True,
        text=True,
    )
    failed: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        failed |= json.loads(line)
    assert {check: sorted(failed.get(check, {"no output": done.stderr})) for check in checks} == {
        check: sorted(CHECKS[check][3]) for check in checks
    }


def test_every_check_has_a_scenario():
    assert all(names for *_, names in CHECKS.values())
