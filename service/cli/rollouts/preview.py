"""`graylag rollout preview`: the effect of a rollout before it starts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_bytes, print_json, print_table
from service.cli.rollouts.status import BASE
from service.cli.yaml_files import read_yaml

PATHS = ("patch", "mixed", "full", "keep")
"""How devices get a version: patches only, patches and full files, full files only, nothing to download."""


def preview(
    key: Annotated[str | None, typer.Argument(help="Name or id of an existing rollout.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("-f", "--file", help="YAML or JSON file of a rollout that does not exist yet."),
    ] = None,
    devices: Annotated[
        int, typer.Option(min=0, max=10_000, help="Number of devices of stage 1 to list.")
    ] = 10,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which devices a rollout reaches, how many bytes they download, and how long it takes.

    Nothing is created or started.
    """
    if (key is None) == (file is None):
        raise CliError("no rollout is given, or two are; give either the name of a rollout or --file")
    body = read_yaml(file) if file else {"rollout": key}
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/preview?devices={devices}", body)
    print_json(found) if as_json else _print_preview(found)


def _print_preview(found: dict[str, Any]) -> None:
    fleet = found["fleet"]
    typer.echo(
        f"{found['rollout']}: {found['model']} {found['version']} reaches {fleet['reached']:,} of "
        f"{fleet['devices']:,} devices that have polled for {found['model']}"
    )
    _print_excluded(fleet)
    _print_stages(found)
    _print_versions(found["versions"])
    _print_totals(found)
    for warning in found["warnings"]:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW)
    if found["devices"]:
        typer.echo(f"first devices of stage 1: {' '.join(found['devices'])}")


def _print_excluded(fleet: dict[str, Any]) -> None:
    excluded = _counts(fleet["excluded"])
    if excluded:
        typer.echo(f"excluded: {excluded}")
    if fleet["never_polled"]:
        typer.echo(f"not counted: {fleet['never_polled']:,} enrolled devices that have never polled for it")


def _print_stages(found: dict[str, Any]) -> None:
    opening_days = found["forecast"]["stage_opens_day"]
    rows = [
        (
            number,
            f"{stage['percent']:g} % of {stage['cohort']}",
            "never" if day is None else f"{day:g}",
            f"{stage['devices']:,}",
            f"{stage['cumulative_devices']:,}",
            format_bytes(stage["bytes"]),
            *(f"{stage['paths'].get(path, 0):,}" for path in PATHS),
        )
        for number, (stage, day) in enumerate(zip(found["stages"], opening_days, strict=True), 1)
    ]
    headings = ("stage", "devices of", "opens on day", "devices", "cumulative", "bytes", *PATHS)
    print_table(headings, rows, empty="no stages")


def _print_versions(versions: list[dict[str, Any]]) -> None:
    rows = [
        (
            version["version"] or "(none)",
            f"{version['devices']:,}",
            format_bytes(version["bytes"]),
            *(f"{version['paths'].get(path, 0):,}" for path in PATHS),
            _counts(version["excluded"]),
        )
        for version in versions
    ]
    headings = ("running version", "reached", "bytes", *PATHS, "excluded")
    print_table(headings, rows, empty="no device has polled for this model yet")


def _print_totals(found: dict[str, Any]) -> None:
    sizes, forecast = found["download"], found["forecast"]
    typer.echo(
        f"download per device: median {format_bytes(sizes['p50_bytes'])}, 95th percentile "
        f"{format_bytes(sizes['p95_bytes'])}; total {format_bytes(sizes['total_bytes'])}; "
        f"peak memory to apply a patch {format_bytes(sizes['peak_memory_bytes'])}"
    )
    days = forecast["days_to_95_percent"]
    typer.echo(
        "95 % of the devices are updated "
        + ("never, with the current settings" if days is None else f"after {days:g} days")
    )
    for assumption in forecast["assumptions"]:
        typer.echo(f"  assuming {assumption}")


def _counts(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
