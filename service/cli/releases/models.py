"""`graylag model`: list models and versions, and stop updates of a model."""

from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.errors import CliError
from service.cli.options import REASON_HELP, JsonOption, TokenOption, UrlOption
from service.cli.output import print_json, print_table

app = typer.Typer(help="Manage models and stop their updates.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Reason = Annotated[str, typer.Option(help=REASON_HELP)]
BASE = "/v1/admin/models"
NO_MODELS = "no models yet; publish one with: graylag publish MODEL VERSION --component NAME=FILE"
NO_VERSIONS = "no versions yet"


@app.command("list")
def list_models(url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all models and whether their updates are enabled."""
    with AdminApi.from_environment(url, token) as api:
        models = api.call("GET", BASE)
    if as_json:
        print_json(models)
        return
    rows = [(model["name"], _state(model), model["description"]) for model in models]
    print_table(("model", "updates", "description"), rows, empty=NO_MODELS)


@app.command("show")
def show(name: Name, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Show a model and its versions, newest first."""
    with AdminApi.from_environment(url, token) as api:
        versions = api.call("GET", f"{BASE}/{quote_segment(name)}/versions")
        model = next((model for model in api.call("GET", BASE) if model["name"] == name), None)
    if model is None:
        raise CliError(f"there is no model {name}; see `graylag model list`")
    if as_json:
        print_json({**model, "versions": versions})
        return
    typer.echo(f"updates of {model['name']} are {_state(model)}")
    rows = [
        (
            version["label"],
            version["counter"],
            version["floor"] or None,
            version["state"],
            "yes" if version["barrier"] else None,
            ", ".join(variant["name"] for variant in version["variants"]),
        )
        for version in versions
    ]
    print_table(("version", "counter", "floor", "state", "barrier", "variants"), rows, empty=NO_VERSIONS)


@app.command("disable")
def disable(
    name: Name,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop all updates of a model (kill switch).

    After at most 2 seconds no device is offered a version of it, whatever the state of its rollouts. Devices
    that are downloading pause at their next poll.
    """
    _transition(name, "disable", reason, url, token, as_json=as_json)


@app.command("enable")
def enable(
    name: Name,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allow updates of a disabled model again; its rollouts continue where they were."""
    _transition(name, "enable", reason, url, token, as_json=as_json)


def _transition(
    name: str, verb: str, reason: str, url: str | None, token: str | None, *, as_json: bool
) -> None:
    with AdminApi.from_environment(url, token) as api:
        model = api.call("POST", f"{BASE}/{quote_segment(name)}/{verb}", {"reason": reason})
    if as_json:
        print_json(model)
    else:
        typer.echo(f"updates of {model['name']} are {_state(model)}")


def _state(model: dict[str, Any]) -> str:
    return "disabled" if model["disabled"] else "enabled"
