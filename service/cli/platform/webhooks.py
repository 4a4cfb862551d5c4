"""`graylag webhook`: notify other systems about rollouts."""

import time
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_time, print_json, print_table

app = typer.Typer(help="Manage webhooks, which notify other systems about rollouts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the webhook.")]
BASE = "/v1/admin/webhooks"
NO_WEBHOOKS = "no webhooks yet; create one with: graylag webhook put ops https://example.com/hook"
POLL_INTERVAL_S = 0.5


@app.command("list")
def list_webhooks(url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all webhooks."""
    with AdminApi.from_environment(url, token) as api:
        webhooks = api.call("GET", BASE)
    if as_json:
        print_json(webhooks)
        return
    rows = [
        (
            webhook["name"],
            webhook["url"],
            _event_types(webhook),
            "yes" if webhook["active"] else "no",
            webhook["problem"],
        )
        for webhook in webhooks
    ]
    print_table(("webhook", "url", "events", "active", "problem"), rows, empty=NO_WEBHOOKS)


@app.command("put")
def put(
    name: Name,
    address: Annotated[str, typer.Argument(help="URL that receives POST requests; must be https.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="Event type to send, for example rollout.halt. Repeat for more. Default: all."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Store it without sending events.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create or replace a webhook. The secret of a new one is printed only once."""
    body = {"url": address, "event_types": event or [], "active": not off}
    with AdminApi.from_environment(url, token) as api:
        webhook = api.call("PUT", f"{BASE}/{quote_segment(name)}", body)
    _print_webhook(webhook, as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(
    name: Name, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False
) -> None:
    """Create a new secret and print it; messages carry signatures with both secrets for 24 hours."""
    with AdminApi.from_environment(url, token) as api:
        webhook = api.call("POST", f"{BASE}/{quote_segment(name)}/rotate-secret")
    _print_webhook(webhook, as_json=as_json)


@app.command("delete")
def delete(name: Name, url: UrlOption = None, token: TokenOption = None) -> None:
    """Delete a webhook and its undelivered messages."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"{BASE}/{quote_segment(name)}")
    typer.echo(f"webhook {name} is deleted")


@app.command("test")
def send_test(
    name: Name,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the delivery.")] = 30,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test message; exit with status 0 only if it was delivered."""
    with AdminApi.from_environment(url, token) as api:
        message = api.call("POST", f"{BASE}/{quote_segment(name)}/test")
        delivery = _wait_for_delivery(api, name, message["id"], time.monotonic() + timeout)
    if as_json:
        print_json(delivery)
    else:
        problem = delivery["problem"]
        typer.echo(f"{delivery['message_id']}: {problem['detail'] if problem else delivery['state']}")
    raise typer.Exit(0 if delivery["state"] == "delivered" else 1)


@app.command("deliveries")
def deliveries(
    name: Name, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False
) -> None:
    """List the newest messages of a webhook and their delivery state."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quote_segment(name)}/deliveries")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            delivery["id"],
            format_time(delivery["created_at"]),
            delivery["event_type"],
            delivery["state"],
            delivery["attempts"],
            (delivery["problem"] or {}).get("detail"),
        )
        for delivery in found
    ]
    headings = ("message", "created", "event", "state", "attempts", "problem")
    print_table(headings, rows, empty="no messages yet")


@app.command("retry")
def retry(
    name: Name,
    message: Annotated[int, typer.Argument(help="Number of a failed message, as `deliveries` lists it.")],
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Try to deliver a failed message again for another day."""
    with AdminApi.from_environment(url, token) as api:
        delivery = api.call("POST", f"{BASE}/{quote_segment(name)}/deliveries/{message}/retry")
    typer.echo(f"{delivery['message_id']} is {delivery['state']}")


def _print_webhook(webhook: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(webhook)
        return
    typer.echo(f"webhook {webhook['name']} sends {_event_types(webhook)} to {webhook['url']}")
    if webhook["secret"]:
        typer.echo(f"secret (shown only once): {webhook['secret']}")


def _event_types(webhook: dict[str, Any]) -> str:
    return ", ".join(webhook["event_types"]) or "all events"


def _wait_for_delivery(api: AdminApi, name: str, message: int, deadline: float) -> dict[str, Any]:
    """Poll until the message has been attempted once, or the deadline has passed."""
    while True:
        found = api.call("GET", f"{BASE}/{quote_segment(name)}/deliveries")
        delivery: dict[str, Any] | None = next((one for one in found if one["id"] == message), None)
        if delivery is None:
            raise CliError(f"message {message} is gone: the webhook {name} was deleted meanwhile")
        if delivery["state"] != "pending" or delivery["attempts"] or time.monotonic() > deadline:
            return delivery
        time.sleep(POLL_INTERVAL_S)
