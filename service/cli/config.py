"""`graylag apply` and `graylag export`: everything that people write down, as one file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.documents import read_document, write_document
from service.cli.http import AdminApi, CliError
from service.cli.options import AsJson, Token, Url, show_json

BASE = "/v1/admin/config"
SECTIONS = ("models", "cohorts", "templates", "webhooks", "rollouts")
MARKS = {"create": "+", "change": "~", "delete": "-", "kept": "!"}
COLOURS = {
    "create": typer.colors.GREEN,
    "change": typer.colors.YELLOW,
    "delete": typer.colors.RED,
    "kept": typer.colors.MAGENTA,
}
LONGEST = 100
"""Characters of a value that are shown to a person."""


def apply(
    file: Annotated[
        Path,
        typer.Option("-f", "--file", help="YAML or JSON; - is standard input. One rollout alone will do."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove what the file's sections do not name, where nothing needs it."),
    ] = False,
    etag: Annotated[
        str | None, typer.Option(help="Refuse if the configuration has another etag than this by now.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Bring about what a file says, all of it or nothing, and show what changed.

    Sections: models, cohorts, templates, webhooks, rollouts; one that is left out stays as it is. Rollouts that
    have left their draft are never changed.
    """
    document = _document(file)
    query = f"?dry_run={_word(dry_run)}&prune={_word(prune)}"
    with AdminApi.from_environment(url, token) as api:
        headers = {"If-Match": f'"{etag}"'} if etag else {}
        outcome = api.call("PUT", BASE + query, document, headers=headers)
    show_json(outcome) if as_json else _show(outcome)


def export(
    lists: Annotated[bool, typer.Option("--lists", help="With the device ids that cohorts list.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Everything as one file that `graylag apply` takes, on standard output."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?lists={_word(lists)}")
    if as_json:
        show_json(found)
    else:
        typer.echo(write_document(found), nl=False)


def _document(file: Path) -> dict[str, Any]:
    read = read_document(file)
    if not isinstance(read, dict):
        raise CliError(f"{file} holds none of {', '.join(SECTIONS)}")
    # A file that holds nothing but one rollout is what `graylag rollout create -f` takes, too.
    return {"rollouts": [read]} if "version" in read and not read.keys() & set(SECTIONS) else read


def _show(outcome: dict[str, Any]) -> None:
    shown = [change for change in outcome["changes"] if change["action"] != "unchanged"]
    for change in shown:
        why = f"  ({change['reason']})" if change["reason"] else ""
        line = f"{MARKS[change['action']]} {change['action']} {change['section']}/{change['name']}{why}"
        typer.secho(line, fg=COLOURS[change["action"]])
        if change["action"] in ("change", "kept"):
            for one in change["differences"]:
                typer.echo(f"    {one['path']}: {_brief(one['before'])} -> {_brief(one['after'])}")
    for name, secret in outcome["secrets"].items():
        typer.echo(f"the secret of the webhook {name}, shown this once: {secret}")
    same = len(outcome["changes"]) - len(shown)
    end = "nothing was changed: this was a trial" if outcome["dry_run"] else f"etag {outcome['etag']}"
    typer.echo(f"{len(shown)} to see, {same} unchanged; {end}")


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _word(flag: bool) -> str:
    return "true" if flag else "false"
