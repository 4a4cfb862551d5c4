"""`graylag model`: what there is, and the kill switch."""

from typing import Annotated, Any

import typer

from service.cli.http import AdminApi, quoted
from service.cli.options import AsJson, Token, Url, show_json, show_table

app = typer.Typer(help="Models, their versions, and the kill switch.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the audit log.")]
BASE = "/v1/admin/models"
EMPTY = "no models yet: graylag publish MODEL VERSION --component NAME=FILE"


@app.command("list")
def list_models(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All models, and whether their kill switch has been thrown."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", BASE)
    if as_json:
        show_json(found)
        return
    rows = [(model["name"], _state(model), model["description"]) for model in found]
    show_table(("model", "state", "description"), rows, empty=EMPTY)


@app.command("show")
def show(name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """A model and its versions, newest first."""
    with AdminApi.from_environment(url, token) as api:
        versions = api.call("GET", f"{BASE}/{quoted(name)}/versions")
        model = next(model for model in api.call("GET", BASE) if model["name"] == name)
    if as_json:
        show_json({**model, "versions": versions})
        return
    typer.echo(f"{model['name']} is {_state(model)}")
    rows = [
        (
            version["label"],
            version["counter"],
            version["floor"] or None,
            version["state"],
            "watershed" if version["watershed"] else None,
            ", ".join(variant["name"] for variant in version["variants"]),
        )
        for version in versions
    ]
    show_table(("version", "counter", "floor", "state", "", "builds"), rows, empty=EMPTY)


@app.command("kill")
def kill(name: Name, reason: Reason, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Nothing more to any device, within two seconds, whatever the rollouts say; open downloads hear at their next poll."""
    _switch(name, "kill", reason, url, token, as_json=as_json)


@app.command("revive")
def revive(name: Name, reason: Reason, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Put the kill switch back; rollouts go on where they are."""
    _switch(name, "revive", reason, url, token, as_json=as_json)


def _switch(name: str, verb: str, reason: str, url: str | None, token: str | None, *, as_json: bool) -> None:
    with AdminApi.from_environment(url, token) as api:
        model = api.call("POST", f"{BASE}/{quoted(name)}/{verb}", {"reason": reason})
    if as_json:
        show_json(model)
    else:
        typer.echo(f"{model['name']} is {_state(model)}")


def _state(model: dict[str, Any]) -> str:
    return "killed" if model["killed"] else "served"
