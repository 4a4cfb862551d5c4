"""`graylag cohort`: named groups of devices."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import pluralize, print_json, print_table

app = typer.Typer(help="Manage cohorts: named groups of devices.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the cohort.")]
BASE = "/v1/admin/cohorts"
NO_COHORTS = "no cohorts yet; create one with: graylag cohort put everyone --rule '{}'"


@app.command("list")
def list_cohorts(url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all cohorts."""
    with AdminApi.from_environment(url, token) as api:
        cohorts = api.call("GET", BASE)
    if as_json:
        print_json(cohorts)
    else:
        rows = [
            (c["name"], _rule_text(c["rule"]), f"{c['listed_devices']:,}", c["description"]) for c in cohorts
        ]
        print_table(("cohort", "rule", "listed devices", "description"), rows, empty=NO_COHORTS)


@app.command("show")
def show(name: Name, url: UrlOption = None, token: TokenOption = None) -> None:
    """Print one cohort as JSON."""
    with AdminApi.from_environment(url, token) as api:
        print_json(api.call("GET", f"{BASE}/{quote_segment(name)}"))


@app.command("size")
def size(name: Name, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Count the devices that are in a cohort now."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quote_segment(name)}/size")
    if as_json:
        print_json(found)
    else:
        typer.echo(
            f"{name}: {pluralize(found['devices'], 'device')}, {found['silent']:,} of them not seen for a week"
        )


@app.command("put")
def put(
    name: Name,
    rule: Annotated[
        str | None, typer.Option(help='Rule as JSON, or @FILE. The rule "{}" matches every device.')
    ] = None,
    devices: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with one device id per line.")
    ] = None,
    description: Annotated[str, typer.Option(help="Description.")] = "",
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create or replace a cohort; running rollouts use it within 2 seconds."""
    if rule is None and devices is None:
        raise CliError("no members are given; use --rule, --devices, or both")
    body = {
        "rule": _parse_rule(rule) if rule is not None else None,
        "devices": devices.read_text(encoding="utf-8").split() if devices else None,
        "description": description,
    }
    with AdminApi.from_environment(url, token) as api:
        cohort = api.call("PUT", f"{BASE}/{quote_segment(name)}", body)
    if as_json:
        print_json(cohort)
        return
    typer.echo(
        f"{cohort['name']}: {_rule_text(cohort['rule'])}, {pluralize(cohort['listed_devices'], 'listed device')}"
    )


@app.command("delete")
def delete(name: Name, url: UrlOption = None, token: TokenOption = None) -> None:
    """Delete a cohort that no rollout uses."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"{BASE}/{quote_segment(name)}")
    typer.echo(f"cohort {name} is deleted")


def _rule_text(rule: Any) -> str:
    return "no rule" if rule is None else f"rule {json.dumps(rule)}"


def _parse_rule(text: str) -> Any:
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise CliError(f"--rule is not valid JSON: {error}") from error
