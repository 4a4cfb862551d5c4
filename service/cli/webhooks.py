"""`graylag webhook`: who is told what happens to rollouts."""

import time
from typing import Annotated, Any

import typer

from service.cli.http import AdminApi, CliError, quoted
from service.cli.options import AsJson, Token, Url, show_json, show_table, to_the_second

app = typer.Typer(help="Webhooks: who is told what happens to rollouts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the webhook.")]
BASE = "/v1/admin/webhooks"
EMPTY = "no webhooks yet: graylag webhook add ops https://example.com/hook"
LOOK_EVERY_S = 0.5


@app.command("list")
def list_webhooks(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All webhooks."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", BASE)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            w["name"],
            w["url"],
            ", ".join(w["kinds"]) or "everything",
            "on" if w["active"] else "off",
            w["problem"],
        )
        for w in found
    ]
    show_table(("webhook", "url", "hears of", "", "problem"), rows, empty=EMPTY)


@app.command("add")
def add(
    name: Name,
    address: Annotated[str, typer.Argument(help="Where messages are POSTed; https.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="What to tell, for example rollout.halt; repeat. Everything if absent."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Tell it nothing for now.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook, or change it. The secret of a new one is shown this once."""
    body = {"url": address, "kinds": kind or [], "active": not off}
    with AdminApi.from_environment(url, token) as api:
        made = api.call("PUT", f"{BASE}/{quoted(name)}", body)
    _show_made(made, as_json=as_json)


@app.command("rotate")
def rotate(name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Make a new secret, shown this once; for a day messages are signed with both."""
    with AdminApi.from_environment(url, token) as api:
        made = api.call("POST", f"{BASE}/{quoted(name)}/rotate")
    _show_made(made, as_json=as_json)


@app.command("remove")
def remove(name: Name, url: Url = None, token: Token = None) -> None:
    """Remove a webhook, with all that was still to be told to it."""
    with AdminApi.from_environment(url, token) as api:
        api.call("DELETE", f"{BASE}/{quoted(name)}")
    typer.echo(f"{name} is gone")


@app.command("test")
def try_out(
    name: Name,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for the outcome.")] = 30,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send it a message that says nothing has happened; status 0 only if it arrived."""
    with AdminApi.from_environment(url, token) as api:
        sent = api.call("POST", f"{BASE}/{quoted(name)}/test")
        outcome = _outcome(api, name, sent["id"], time.monotonic() + patience)
    if as_json:
        show_json(outcome)
    else:
        problem = outcome["problem"]
        typer.echo(f"{outcome['message_id']}: {problem['detail'] if problem else outcome['state']}")
    raise typer.Exit(0 if outcome["state"] == "delivered" else 1)


@app.command("deliveries")
def deliveries(name: Name, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """The newest messages, and what came of them."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quoted(name)}/deliveries")
    if as_json:
        show_json(found)
        return
    rows = [
        (
            d["id"],
            to_the_second(d["created_at"]),
            d["kind"],
            d["state"],
            d["attempts"],
            (d["problem"] or {}).get("detail"),
        )
        for d in found
    ]
    show_table(
        ("message", "written", "kind", "state", "attempts", "problem"), rows, empty="nothing was told yet"
    )


@app.command("retry")
def retry(
    name: Name,
    message: Annotated[int, typer.Argument(help="Number of a message that was given up.")],
    url: Url = None,
    token: Token = None,
) -> None:
    """Give a message that was given up another day."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/{quoted(name)}/deliveries/{message}/retry")
    typer.echo(f"{found['message_id']} is {found['state']}")


def _show_made(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    typer.echo(f"{made['name']} hears of {', '.join(made['kinds']) or 'everything'} at {made['url']}")
    if made["secret"]:
        typer.echo(f"its secret, shown this once: {made['secret']}")


def _outcome(api: AdminApi, name: str, message: int, deadline: float) -> dict[str, Any]:
    while True:
        found = api.call("GET", f"{BASE}/{quoted(name)}/deliveries")
        one: dict[str, Any] | None = next((d for d in found if d["id"] == message), None)
        if one is None:
            raise CliError(f"the message {message} went away with its webhook")
        if one["state"] != "waiting" or one["attempts"] or time.monotonic() > deadline:
            return one
        time.sleep(LOOK_EVERY_S)
