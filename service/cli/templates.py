"""`graylag template`: rollouts to copy from."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.documents import read_document
from service.cli.http import AdminApi, quoted
from service.cli.options import AsJson, Token, Url, counted, show_json, show_table

app = typer.Typer(help="Templates: stages, gates and policy by name.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the template.")]
BASE = "/v1/admin/templates"
EMPTY = "no templates yet: graylag template put careful -f careful.yaml"


@app.command("list")
def list_templates(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All templates."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", BASE)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            t["name"],
            " > ".join(f"{s['percent']:g} % of {s['cohort']}" for s in t["body"]["stages"]),
            t["description"],
        )
        for t in found
    ]
    show_table(("template", "stages", "description"), rows, empty=EMPTY)


@app.command("show")
def show(name: Name, url: Url = None, token: Token = None) -> None:
    """One template, as JSON."""
    with AdminApi.from_environment(url, token) as api:
        show_json(api.call("GET", f"{BASE}/{quoted(name)}"))


@app.command("put")
def put(
    name: Name,
    file: Annotated[
        Path, typer.Option("-f", "--file", help="YAML or JSON: stages, on_breach, priority, policy.")
    ],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a template, or change it; rollouts that were made from it stay as they are."""
    with AdminApi.from_environment(url, token) as api:
        made = api.call("PUT", f"{BASE}/{quoted(name)}", read_document(file))
    if as_json:
        show_json(made)
    else:
        typer.echo(
            f"{name}: {counted(len(made['body']['stages']), 'stage')}; graylag rollout create --template {name} ..."
        )


@app.command("remove")
def remove(name: Name, url: Url = None, token: Token = None) -> None:
    """Remove a template; rollouts that were made from it stay."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"{BASE}/{quoted(name)}")
    typer.echo(f"{name} is gone")
