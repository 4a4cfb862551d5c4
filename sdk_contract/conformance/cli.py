"""The command line of the conformance run."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdk_contract.conformance import report
from sdk_contract.conformance.runner import Result, chosen, play_all
from sdk_contract.conformance.scenarios import SCENARIOS
from sdk_contract.conformance.sdk import CommandSdk


def main(arguments: Sequence[str]) -> int:
    """Run; returns 0 when no scenario failed, 1 when some did, 2 for wrong use."""
    options = _parser().parse_args(arguments)
    picked = chosen(SCENARIOS, options.only)
    if options.list:
        for scenario in picked:
            print(f"{scenario.name:45} {scenario.text}")
        return 0
    if not picked or not options.sdk:
        print("no scenario of that name" if not picked else "--sdk is needed", file=sys.stderr)
        return 2
    try:
        sdk = CommandSdk(options.sdk)
        if options.report is not None:  # before minutes have gone into what could not be kept
            options.report.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    started = time.monotonic()
    results = play_all(picked, sdk, parallel=options.parallel, tell=_Teller(len(picked)))
    if options.report is not None:
        report.write(results, options.sdk, options.report)
    failed = [result for result in results if result.verdict == "failed"]
    skipped = sum(result.verdict == "skipped" for result in results)
    for result in failed:
        print(f"failed: {result.scenario.name}")
    passed, seconds = len(results) - len(failed) - skipped, time.monotonic() - started
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped in {seconds:.0f} s")
    return 1 if failed else 0


@dataclass(slots=True)
class _Teller:
    """Says how each scenario went, and how many are to come."""

    total: int
    done: int = 0

    def __call__(self, result: Result) -> None:
        self.done += 1
        lines = [
            f"{self.done:4}/{self.total}  {result.verdict:8}{result.seconds:6.2f} s  {result.scenario.name}"
        ]
        if result.verdict == "failed":
            lines += [f"must hold: {result.scenario.text}", *result.message.splitlines()]
            lines += [f"asked: {request}" for request in result.requests]
        # In one piece: scenarios end in several threads.
        print("\n            ".join(lines), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m sdk_contract.conformance", description="Judges a device SDK that is given as a command."
    )
    parser.add_argument(
        "--sdk", metavar="COMMAND", help="e.g. 'python -m sdk_contract.conformance.reference'"
    )
    parser.add_argument("--only", default="*", metavar="PATTERN", help="for example 'rollback.*'")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write JSON, JUnit and Markdown there")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="scenarios at a time")
    parser.add_argument("--list", action="store_true", help="show the scenarios and end")
    return parser
