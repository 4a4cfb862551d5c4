"""`graylag rollout preview`: what a rollout would do, before anything starts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.documents import read_document
from service.cli.http import AdminApi, CliError
from service.cli.options import AsJson, Token, Url, readable, show_json, show_table
from service.cli.rollout_show import BASE

PATHS = ("patch", "mixed", "full", "keep")


def preview(
    key: Annotated[str | None, typer.Argument(help="Name or id of a rollout that is written down.")] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="YAML or JSON of one that is not.")
    ] = None,
    devices: Annotated[int, typer.Option(min=0, max=10_000, help="How many of stage one to name.")] = 10,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Who would get it, how, how many bytes, how long. Nothing is written down."""
    if (key is None) == (file is None):
        raise CliError("give the name of a rollout, or --file")
    body = read_document(file) if file else {"rollout": key}
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/preview?devices={devices}", body)
    show_json(found) if as_json else _show(found)


def _show(found: dict[str, Any]) -> None:
    fleet = found["fleet"]
    typer.echo(
        f"{found['rollout']}: {found['model']} {found['version']} reaches {fleet['reached']:,} of "
        f"{fleet['devices']:,} devices that have asked about {found['model']}"
    )
    _show_fleet(fleet)
    _show_stages(found)
    _show_versions(found["versions"])
    _show_figures(found)
    for warning in found["warnings"]:
        typer.secho(f"look: {warning}", fg=typer.colors.YELLOW)
    if found["devices"]:
        typer.echo(f"stage 1 begins with: {' '.join(found['devices'])}")


def _show_fleet(fleet: dict[str, Any]) -> None:
    left = ", ".join(f"{reason} {count:,}" for reason, count in sorted(fleet["left"].items()))
    if left:
        typer.echo(f"left out: {left}")
    if fleet["strangers"]:
        typer.echo(f"not counted: {fleet['strangers']:,} that have enrolled and never asked about it")


def _show_stages(found: dict[str, Any]) -> None:
    opens = found["forecast"]["stage_opens_day"]
    rows = [
        (
            place,
            f"{stage['percent']:g} % of {stage['cohort']}",
            "never" if day is None else f"{day:g}",
            f"{stage['devices']:,}",
            f"{stage['cumulative_devices']:,}",
            readable(stage["bytes"]),
            *(f"{stage['paths'].get(path, 0):,}" for path in PATHS),
        )
        for place, (stage, day) in enumerate(zip(found["stages"], opens, strict=True), 1)
    ]
    show_table(("stage", "who", "opens, day", "devices", "in all", "bytes", *PATHS), rows, empty="no stages")


def _show_versions(versions: list[dict[str, Any]]) -> None:
    rows = [
        (
            version["version"] or "(nothing)",
            f"{version['devices']:,}",
            readable(version["bytes"]),
            *(f"{version['paths'].get(path, 0):,}" for path in PATHS),
            ", ".join(f"{reason} {count:,}" for reason, count in sorted(version["left"].items())),
        )
        for version in versions
    ]
    show_table(
        ("runs", "reached", "bytes", *PATHS, "left out"), rows, empty="no device has asked about it yet"
    )


def _show_figures(found: dict[str, Any]) -> None:
    sizes, forecast = found["download"], found["forecast"]
    typer.echo(
        f"download: half of the devices up to {readable(sizes['p50_bytes'])}, 95 % up to "
        f"{readable(sizes['p95_bytes'])}; {readable(sizes['total_bytes'])} in all; "
        f"memory to apply a patch: up to {readable(sizes['peak_memory_bytes'])}"
    )
    days = forecast["days_to_95_percent"]
    typer.echo(
        "95 % of the devices: " + ("never, as things stand" if days is None else f"after {days:g} days")
    )
    for line in forecast["assumes"]:
        typer.echo(f"  if {line}")
