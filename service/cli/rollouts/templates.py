"""`graylag template`: reusable stages and policies of rollouts."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import pluralize, print_json, print_table
from service.cli.yaml_files import read_yaml

app = typer.Typer(help="Manage rollout templates: reusable stages, gates and policy.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the template.")]
BASE = "/v1/admin/templates"
NO_TEMPLATES = "no templates yet; create one with: graylag template put careful -f careful.yaml"


@app.command("list")
def list_templates(url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all templates."""
    with AdminApi.from_environment(url, token) as api:
        templates = api.call("GET", BASE)
    if as_json:
        print_json(templates)
        return
    rows = [
        (
            template["name"],
            " > ".join(
                f"{stage['percent']:g} % of {stage['cohort']}" for stage in template["body"]["stages"]
            ),
            template["description"],
        )
        for template in templates
    ]
    print_table(("template", "stages", "description"), rows, empty=NO_TEMPLATES)


@app.command("show")
def show(name: Name, url: UrlOption = None, token: TokenOption = None) -> None:
    """Print one template as JSON."""
    with AdminApi.from_environment(url, token) as api:
        print_json(api.call("GET", f"{BASE}/{quote_segment(name)}"))


@app.command("put")
def put(
    name: Name,
    file: Annotated[
        Path,
        typer.Option("-f", "--file", help="YAML or JSON file with stages, on_breach, priority and policy."),
    ],
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create or replace a template; existing rollouts do not change."""
    with AdminApi.from_environment(url, token) as api:
        template = api.call("PUT", f"{BASE}/{quote_segment(name)}", read_yaml(file))
    if as_json:
        print_json(template)
    else:
        typer.echo(
            f"{name} has {pluralize(len(template['body']['stages']), 'stage')}; "
            f"use it with: graylag rollout create --template {name}"
        )


@app.command("delete")
def delete(name: Name, url: UrlOption = None, token: TokenOption = None) -> None:
    """Delete a template; existing rollouts do not change."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"{BASE}/{quote_segment(name)}")
    typer.echo(f"template {name} is deleted")
