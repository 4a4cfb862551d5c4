"""Gates of a rollout for people: what each says, with its figures."""

import math
from typing import Any

import typer

from service.cli.options import show_table, to_the_second

MOST = 0.9
"""With fewer reports than this share, those who are missing may change the picture."""
ENOUGH = 20
"""Reports, early and late, before they are compared."""


def show_gates(gates: dict[str, Any]) -> None:
    """The verdict of this moment, each gate behind it, what was measured, and who is held back."""
    verdict = gates["verdict"]
    if verdict is not None:
        figures = verdict["figures"]
        typer.echo(f"gates: {verdict['outcome']}, {verdict['reason']}")
        for line in _who_came(figures):
            typer.echo(line)
        rows = [_finding(finding) for finding in figures["findings"]]
        headings = ("gate", "says", "value", "bound", "devices", "control", "evidence")
        show_table(headings, rows, empty="no gates: nothing stops this stage by itself")
    rows = [
        (metric, *(_arm(arms[arm]) for arm in ("treated", "control")))
        for metric, arms in gates["measured"].items()
    ]
    if rows:
        show_table(("measured", "with it", "without it"), rows, empty="")
    for entry in gates["held"]:
        typer.echo(f"held back: {entry['stratum']} since {entry['since']}: {entry['reason']}")


def show_verdict(verdict: dict[str, Any]) -> tuple[str, ...]:
    """One row of the list of verdicts."""
    return (
        to_the_second(verdict["at"]),
        str(verdict["stage"] + 1),
        verdict["outcome"],
        verdict["cause"],
        verdict["reason"],
    )


def _finding(finding: dict[str, Any]) -> tuple[str, ...]:
    value = finding["value"]
    return (
        finding["metric"],
        finding["says"],
        "-" if value is None else f"{value:.4g}",
        f"{finding['bound']:.4g}",
        f"{finding['reports']:,}",
        f"{finding['control']:,}",
        f"{max(finding['evidence'], 0):.1f} of {finding['needed']:.1f}",
    )


def _who_came(figures: dict[str, Any]) -> list[str]:
    """Whom the figures are about: those who come first are seldom like the others."""
    outcomes, early, late = figures["outcomes"], figures["early"], figures["late"]
    expected = outcomes["offered"] - outcomes["withdrawn"]
    reports = early["reports"] + late["reports"]
    if max(expected, reports) == 0:
        return ["nobody has been offered it yet"]
    lines = [
        f"{reports:,} of {max(expected, reports):,} devices offered it have reported ({figures['coverage']:.0%})"
    ]
    if reports > 0 and figures["coverage"] < MOST:
        lines.append(
            "  the others may be slow, off Wi-Fi, or failing without a word: silence counts when the lease is over"
        )
    parts = [
        f"{counted['reports']:,} {when}, {counted['failure_rate']:.1%} of them failed"
        for counted, when in ((early, "within an hour of the offer"), (late, "later"))
        if counted["reports"]
    ]
    if parts:
        lines.append(f"  {'; '.join(parts)}")
    if _rosy(early, late):
        lines.append(
            "  those who come later fail more often: the fleet will do worse than the first reports said"
        )
    return lines


def _rosy(early: dict[str, Any], late: dict[str, Any]) -> bool:
    """Whether late reports are worse by more than two standard errors of the difference."""
    if min(early["reports"], late["reports"]) < ENOUGH:
        return False
    first, second = early["failure_rate"], late["failure_rate"]
    spread = first * (1 - first) / early["reports"] + second * (1 - second) / late["reports"]
    return bool(second - first > 2 * math.sqrt(spread))


def _arm(arm: dict[str, Any]) -> str:
    return f"{arm['typical']:.4g} ({arm['devices']:,.0f})" if arm["devices"] else "-"
