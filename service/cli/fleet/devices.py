"""`graylag device`: list devices, change their status, and clear their failures."""

from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import REASON_HELP, JsonOption, TokenOption, UrlOption
from service.cli.output import format_time, print_json, print_table

app = typer.Typer(help="List devices and change their status.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the device.")]
Reason = Annotated[str, typer.Option(help=REASON_HELP)]
BASE = "/v1/admin/devices"
NO_DEVICES = "no devices yet; create an enrollment token with: graylag token create-enrollment NAME"


@app.command("list")
def list_devices(
    after: Annotated[str, typer.Option(help="List devices after this id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of devices.")] = 100,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List devices in the order of their ids."""
    with AdminApi.from_environment(url, token) as api:
        devices = api.call("GET", f"{BASE}?after={quote_segment(after)}&limit={limit}")
    if as_json:
        print_json(devices)
        return
    rows = [
        (device["id"], device["status"], _running_versions(device), format_time(device["seen_at"]))
        for device in devices
    ]
    print_table(("device", "status", "runs", "last seen"), rows, empty=NO_DEVICES)


@app.command("show")
def show(device: Id, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Show the status, the running versions and the attributes of a device."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quote_segment(device)}")
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['id']} is {found['status']}, last seen {format_time(found['seen_at']) or 'never'}")
    typer.echo(f"runs: {_running_versions(found) or 'unknown'}")
    typer.echo(f"attributes reported by the device: {found['attributes'] or 'none'}")
    typer.echo(f"attributes set by operators: {found['admin_attributes'] or 'none'}")


@app.command("clear-failures")
def clear_failures(
    device: Id,
    reason: Reason,
    model: Annotated[
        str | None, typer.Option(help="Only failures of this model. Default: all models.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a device retry versions that have failed on it too often."""
    path = f"{BASE}/{quote_segment(device)}/clear-failures"
    with AdminApi.from_environment(url, token) as api:
        cleared = api.call("POST", path, {"model": model, "reason": reason})
    if as_json:
        print_json(cleared)
    else:
        typer.echo(f"{device} may retry: {', '.join(cleared['models'])}")


@app.command("accept")
def accept(device: Id, reason: Reason = "", url: UrlOption = None, token: TokenOption = None) -> None:
    """Serve a device that is pending or suspended."""
    _transition(device, "accept", reason, url, token)


@app.command("suspend")
def suspend(device: Id, reason: Reason = "", url: UrlOption = None, token: TokenOption = None) -> None:
    """Stop updates of a device; it keeps the version that it runs."""
    _transition(device, "suspend", reason, url, token)


@app.command("decommission")
def decommission(device: Id, reason: Reason = "", url: UrlOption = None, token: TokenOption = None) -> None:
    """Take a device out of service permanently."""
    _transition(device, "decommission", reason, url, token)


def _transition(device: str, verb: str, reason: str, url: str | None, token: str | None) -> None:
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/{quote_segment(device)}/{verb}", {"reason": reason})
    typer.echo(f"{found['id']} is {found['status']}")


def _running_versions(device: dict[str, Any]) -> str:
    return ", ".join(
        f"{installation['model']} {installation['version']}" for installation in device["installations"]
    )
