"""The command line of the conformance run."""

import argparse
import sys
from collections.abc import Sequence
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
    results = play_all(picked, CommandSdk(options.sdk), parallel=options.parallel, tell=_tell)
    if options.report is not None:
        report.write(results, options.sdk, options.report)
    failed = [result for result in results if result.verdict == "failed"]
    skipped = sum(result.verdict == "skipped" for result in results)
    print(f"{len(results) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


def _tell(result: Result) -> None:
    print(f"{result.verdict:8}{result.seconds:6.2f} s  {result.scenario.name}", flush=True)
    if result.verdict == "failed":
        print(f"        must hold: {result.scenario.text}\n        {result.message}", flush=True)


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
