"""Gates of a rollout for people: what each says, with its figures."""

from typing import Any

import typer

from service.cli.options import show_table


def show_gates(gates: dict[str, Any]) -> None:
    """The verdict of this moment, each gate behind it, what was measured, and who is held back."""
    verdict = gates["verdict"]
    if verdict is not None:
        figures = verdict["figures"]
        typer.echo(f"gates: {verdict['outcome']}, {verdict['reason']}")
        typer.echo(f"{figures['coverage']:.1%} of this stage's devices have reported; {_early(figures)}")
        rows = [_finding(finding) for finding in figures["findings"]]
        show_table(("gate", "says", "value", "bound", "devices", "control", "evidence"), rows, empty="")
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
    return verdict["at"], str(verdict["stage"] + 1), verdict["outcome"], verdict["cause"], verdict["reason"]


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


def _early(figures: dict[str, Any]) -> str:
    parts = [
        f"{figures[name]['reports']:,} {when}, {figures[name]['failure_rate']:.1%} of them failed"
        for name, when in (("early", "within an hour of the offer"), ("late", "later"))
        if figures[name]["reports"]
    ]
    return "; ".join(parts) or "nothing yet"


def _arm(arm: dict[str, Any]) -> str:
    return f"{arm['typical']:.4g} ({arm['devices']:,.0f})" if arm["devices"] else "-"
