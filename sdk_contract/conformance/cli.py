"""Command line of the conformance run."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdk_contract.conformance import report
from sdk_contract.conformance.runner import Result, run_scenarios, select
from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.conformance.sdk import CommandSdk


def main(arguments: Sequence[str]) -> int:
    """Run scenarios; return 0 if none failed, 1 if some failed, 2 for invalid arguments."""
    options = _parser().parse_args(arguments)
    selected = select(SCENARIOS, options.only)
    if options.list:
        for scenario in selected:
            print(f"{scenario.name:45} {scenario.requirement}")
        return 0
    if not selected or not options.sdk:
        print("--sdk is required" if selected else f"no scenario matches {options.only}", file=sys.stderr)
        return 2
    try:
        sdk = CommandSdk(options.sdk)
        if options.report is not None:  # fails now rather than after minutes of tests
            options.report.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    started = time.monotonic()
    results = run_scenarios(
        selected, sdk, parallel=options.parallel, on_result=_ProgressPrinter(len(selected))
    )
    if options.report is not None:
        report.write(results, options.sdk, options.report)
    return _print_summary(results, time.monotonic() - started)


def _print_summary(results: Sequence[Result], seconds: float) -> int:
    """Print the failed scenarios and the totals; return the exit code."""
    failed = [result for result in results if result.verdict == "failed"]
    for result in failed:
        print(f"failed: {result.scenario.name}")
    skipped = sum(result.verdict == "skipped" for result in results)
    passed = len(results) - len(failed) - skipped
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped in {seconds:.0f} s")
    return 1 if failed else 0


@dataclass(slots=True)
class _ProgressPrinter:
    """Prints each result, and why a scenario failed."""

    total: int
    done: int = 0

    def __call__(self, result: Result) -> None:
        self.done += 1
        scenario = result.scenario
        lines = [f"{self.done:4}/{self.total}  {result.verdict:8}{result.seconds:6.2f} s  {scenario.name}"]
        if result.verdict == "failed":
            lines += [f"requirement: {scenario.requirement}", *result.message.splitlines()]
            lines += [f"request: {request}" for request in result.requests]
        # One write, because scenarios end in several threads.
        print("\n            ".join(lines), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m sdk_contract.conformance", description="Test a device SDK, given as a command."
    )
    parser.add_argument(
        "--sdk", metavar="COMMAND", help="for example 'python -m sdk_contract.conformance.reference'"
    )
    parser.add_argument(
        "--only",
        default="*",
        metavar="PATTERN",
        help="run the scenarios that match, for example 'rollback.*'",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write reports in JSON, JUnit and Markdown to DIR"
    )
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="scenarios at a time")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    return parser
