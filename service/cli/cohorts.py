"""`graylag cohort`: parts of the fleet."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.http import AdminApi, CliError, quoted
from service.cli.options import AsJson, Token, Url, counted, show_json, show_table

app = typer.Typer(help="Cohorts: named parts of the fleet.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the cohort.")]
EMPTY = "no cohorts yet: graylag cohort put everyone --rule '{}'"


@app.command("list")
def list_cohorts(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All cohorts."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", "/v1/admin/cohorts")
    if as_json:
        show_json(found)
    else:
        rows = [(c["name"], _rule_words(c["rule"]), f"{c['listed']:,}", c["description"]) for c in found]
        show_table(("cohort", "rule", "listed", "description"), rows, empty=EMPTY)


@app.command("show")
def show(name: Name, url: Url = None, token: Token = None) -> None:
    """One cohort, as JSON."""
    with AdminApi.from_environment(url, token) as api:
        show_json(api.call("GET", f"/v1/admin/cohorts/{quoted(name)}"))


@app.command("size")
def size(name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """How many devices it means now."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"/v1/admin/cohorts/{quoted(name)}/size")
    if as_json:
        show_json(found)
    else:
        typer.echo(
            f"{name}: {counted(found['devices'], 'device')}, {found['silent']:,} of them not heard of for a week"
        )


@app.command("put")
def put(
    name: Name,
    rule: Annotated[str | None, typer.Option(help='JSON rule, or @FILE; "{}" is everyone.')] = None,
    devices: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with one device id per line.")
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a cohort, or change it; running rollouts follow within two seconds."""
    if rule is None and devices is None:
        raise CliError("who is in it? Give --rule, --devices, or both")
    body = {
        "rule": _rule(rule) if rule is not None else None,
        "devices": devices.read_text(encoding="utf-8").split() if devices else None,
        "description": description,
    }
    with AdminApi.from_environment(url, token) as api:
        made = api.call("PUT", f"/v1/admin/cohorts/{quoted(name)}", body)
    if as_json:
        show_json(made)
        return
    typer.echo(f"{made['name']}: {_rule_words(made['rule'])}, {made['listed']:,} listed")


@app.command("remove")
def remove(name: Name, url: Url = None, token: Token = None) -> None:
    """Remove a cohort that no rollout names."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"/v1/admin/cohorts/{quoted(name)}")
    typer.echo(f"{name} is gone")


def _rule_words(rule: Any) -> str:
    return "no rule" if rule is None else f"rule {json.dumps(rule)}"


def _rule(text: str) -> Any:
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise CliError(f"--rule is JSON, or @FILE with JSON: {error}") from error
