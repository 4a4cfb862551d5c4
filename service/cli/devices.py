"""`graylag device`: look at devices, take them out of service, forgive them."""

from typing import Annotated, Any

import typer

from service.cli.http import AdminApi, quoted
from service.cli.options import AsJson, Token, Url, show_json, show_table, to_the_second

app = typer.Typer(
    help="Devices: what they are and run, and what you decide about them.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="Id of the device.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the audit log.")]
BASE = "/v1/admin/devices"


@app.command("list")
def list_devices(
    after: Annotated[str, typer.Option(help="Go on behind this id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Devices in order of their id."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?after={quoted(after)}&limit={limit}")
    if as_json:
        show_json(found)
        return
    rows = [
        (device["id"], device["status"], _runs(device), to_the_second(device["seen_at"])) for device in found
    ]
    show_table(
        ("device", "status", "runs", "seen"), rows, empty="no devices yet: graylag token enrolment NAME"
    )


@app.command("show")
def show(device: Id, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Its attributes, and what it runs."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quoted(device)}")
    if as_json:
        show_json(found)
        return
    typer.echo(f"{found['id']} is {found['status']}, seen {to_the_second(found['seen_at']) or 'never'}")
    typer.echo(f"runs: {_runs(found) or 'nothing known'}")
    typer.echo(f"says of itself: {found['attributes'] or 'nothing'}")
    typer.echo(f"an operator says: {found['admin_attributes'] or 'nothing'}")


@app.command("forgive")
def forgive(
    device: Id,
    reason: Reason,
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let it try again the versions that it failed so often that it is left alone."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/{quoted(device)}/forgive", {"model": model, "reason": reason})
    if as_json:
        show_json(found)
    else:
        typer.echo(f"{device} may try again: {', '.join(found['models'])}")


@app.command("accept")
def accept(device: Id, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Serve it, for the first time or again."""
    _act(device, "accept", reason, url, token)


@app.command("suspend")
def suspend(device: Id, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """It keeps what it runs and gets nothing new."""
    _act(device, "suspend", reason, url, token)


@app.command("decommission")
def decommission(device: Id, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Take it out of service for good."""
    _act(device, "decommission", reason, url, token)


def _act(device: str, verb: str, reason: str, url: str | None, token: str | None) -> None:
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/{quoted(device)}/{verb}", {"reason": reason})
    typer.echo(f"{found['id']} is {found['status']}")


def _runs(device: dict[str, Any]) -> str:
    return ", ".join(f"{item['model']} {item['version']}" for item in device["installations"])
