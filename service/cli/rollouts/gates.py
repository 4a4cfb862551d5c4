"""Text output of a rollout's gates: status, details and paused device classes."""

import math
from typing import Any

import typer

from service.cli.output import format_time, print_table

FULL_COVERAGE = 0.9
"""Below this share of reports, the devices that have not reported may change the result."""
MIN_REPORTS_TO_COMPARE = 20
"""Early reports are compared with late ones only if there are this many of each."""


def print_gates(gates: dict[str, Any]) -> None:
    """Print the current evaluation, one row per gate, the measured metrics and the paused device classes."""
    evaluation = gates["evaluation"]
    if evaluation is not None:
        details = evaluation["details"]
        typer.echo(f"gates: {evaluation['decision']}, {evaluation['reason']}")
        for line in _coverage_lines(details):
            typer.echo(line)
        rows = [_gate_row(result) for result in details["gate_results"]]
        headings = ("gate", "status", "value", "bound", "devices", "control", "evidence")
        print_table(headings, rows, empty="this stage has no gates: nothing halts it automatically")
    rows = [
        (metric, *(_arm_cell(arms[arm]) for arm in ("treatment", "control")))
        for metric, arms in gates["metrics"].items()
    ]
    if rows:
        print_table(("metric", "treatment (devices)", "control (devices)"), rows, empty="")
    for entry in gates["paused_classes"]:
        typer.echo(
            f"paused device class: {entry['device_class']} since {format_time(entry['since'])}: {entry['reason']}"
        )


def gate_evaluation_row(evaluation: dict[str, Any]) -> tuple[str, ...]:
    """One table row of the gate history."""
    return (
        format_time(evaluation["at"]),
        str(evaluation["stage"] + 1),
        evaluation["decision"],
        evaluation["cause"],
        evaluation["reason"],
    )


def _gate_row(result: dict[str, Any]) -> tuple[str, ...]:
    value = result["value"]
    return (
        result["metric"],
        result["status"],
        "-" if value is None else f"{value:.4g}",
        f"{result['bound']:.4g}",
        f"{result['reports']:,}",
        f"{result['control']:,}",
        f"{max(result['evidence'], 0):.1f} of {result['threshold']:.1f}",
    )


def _coverage_lines(details: dict[str, Any]) -> list[str]:
    """How many devices have reported, and a warning if late reports are worse than early ones."""
    outcomes, early, late = details["outcomes"], details["early"], details["late"]
    expected = outcomes["offered"] - outcomes["withdrawn"]
    reports = early["reports"] + late["reports"]
    if max(expected, reports) == 0:
        return ["no device has been offered the version yet"]
    lines = [
        f"{reports:,} of {max(expected, reports):,} devices that were offered the version have reported ({details['coverage']:.0%})"
    ]
    if reports > 0 and details["coverage"] < FULL_COVERAGE:
        lines.append(
            "  the others may be slow, off Wi-Fi or failing silently; silent devices count as timed out when their lease expires"
        )
    parts = [
        f"{counts['reports']:,} {when}, {counts['failure_rate']:.1%} of them failed"
        for counts, when in ((early, "within an hour of the offer"), (late, "later"))
        if counts["reports"]
    ]
    if parts:
        lines.append(f"  {'; '.join(parts)}")
    if _late_reports_are_worse(early, late):
        lines.append(
            "  late reports fail more often than early ones: expect a higher failure rate for the whole fleet"
        )
    return lines


def _late_reports_are_worse(early: dict[str, Any], late: dict[str, Any]) -> bool:
    """Whether the late failure rate is higher by more than two standard errors of the difference."""
    if min(early["reports"], late["reports"]) < MIN_REPORTS_TO_COMPARE:
        return False
    first, second = early["failure_rate"], late["failure_rate"]
    variance = first * (1 - first) / early["reports"] + second * (1 - second) / late["reports"]
    return bool(second - first > 2 * math.sqrt(variance))


def _arm_cell(arm: dict[str, Any]) -> str:
    return f"{arm['geometric_mean']:.4g} ({arm['devices']:,.0f})" if arm["devices"] else "-"
