"""`graylag apply` and `graylag export`: the whole configuration as one file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import print_json
from service.cli.yaml_files import read_yaml, to_yaml

BASE = "/v1/admin/config"
SECTIONS = ("models", "cohorts", "templates", "webhooks", "rollouts")
SYMBOLS = {"create": "+", "update": "~", "delete": "-", "skipped": "!"}
COLORS = {
    "create": typer.colors.GREEN,
    "update": typer.colors.YELLOW,
    "delete": typer.colors.RED,
    "skipped": typer.colors.MAGENTA,
}
SHOWN_CHARACTERS = 100
"""Characters of a changed value that the text output shows."""


def apply(
    file: Annotated[
        Path,
        typer.Option(
            "-f",
            "--file",
            help="YAML or JSON file; - is standard input. A file with a single rollout is accepted, too.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, without changing it.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete entries that the file's sections do not list, unless they are in use."
        ),
    ] = False,
    if_match: Annotated[
        str | None, typer.Option(help="ETag; fail if the configuration has changed since it was read.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply a configuration file in one transaction, and show what changed.

    Sections: models, cohorts, templates, webhooks, rollouts. A section that is left out does not change. Only
    rollouts in the draft state are changed.
    """
    document = _read_configuration(file)
    query = f"?dry_run={_query_value(dry_run)}&prune={_query_value(prune)}"
    with AdminApi.from_environment(url, token) as api:
        headers = {"If-Match": f'"{if_match}"'} if if_match else {}
        result = api.call("PUT", BASE + query, document, headers=headers)
    print_json(result) if as_json else _print_changes(result)


def export(
    include_device_ids: Annotated[
        bool, typer.Option("--include-device-ids", help="Include the device ids that cohorts list.")
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the whole configuration as YAML that `graylag apply` accepts."""
    with AdminApi.from_environment(url, token) as api:
        configuration = api.call("GET", f"{BASE}?include_device_ids={_query_value(include_device_ids)}")
    if as_json:
        print_json(configuration)
    else:
        typer.echo(to_yaml(configuration), nl=False)


def _read_configuration(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise CliError(f"{file} must hold an object with any of {', '.join(SECTIONS)}")
    # A file of `graylag rollout create -f` holds one rollout and nothing else.
    return {"rollouts": [content]} if "version" in content and not content.keys() & set(SECTIONS) else content


def _print_changes(result: dict[str, Any]) -> None:
    changes = [change for change in result["changes"] if change["action"] != "unchanged"]
    for change in changes:
        reason = f"  ({change['reason']})" if change["reason"] else ""
        line = f"{SYMBOLS[change['action']]} {change['action']} {change['section']}/{change['name']}{reason}"
        typer.secho(line, fg=COLORS[change["action"]])
        if change["action"] in ("update", "skipped"):
            for difference in change["differences"]:
                before, after = _shortened(difference["before"]), _shortened(difference["after"])
                typer.echo(f"    {difference['path']}: {before} -> {after}")
    for name, secret in result["secrets"].items():
        typer.echo(f"secret of webhook {name} (shown only once): {secret}")
    unchanged = len(result["changes"]) - len(changes)
    summary = "dry run, nothing was changed" if result["dry_run"] else f"etag {result['etag']}"
    typer.echo(f"{len(changes)} changed or skipped, {unchanged} unchanged; {summary}")


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _query_value(flag: bool) -> str:
    return "true" if flag else "false"
