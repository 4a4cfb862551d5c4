"""`graylag rollout`: take a version to the fleet, look at it, stop it."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from service.cli.http import AdminApi, CliError
from service.cli.options import AsJson, Token, Url, show_json, show_table

app = typer.Typer(help="Rollouts: a version on its way to the fleet.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Name or id of the rollout.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the history and the audit log.")]
BASE = "/v1/admin/rollouts"
EMPTY = "no rollouts yet: graylag rollout create --help"
OVER = ("completed", "halted", "cancelled", "rolled_back")
LOOK_EVERY_S = 1.0


@app.command("create")
def create(
    file: Annotated[
        Path | None, typer.Option("-f", "--file", exists=True, help="YAML or JSON of the rollout.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the rollout.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    version: Annotated[str | None, typer.Option(help="Label of the version.")] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="COHORT:PERCENT[:REPORTS]; repeat in order.")
    ] = None,
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Failure rate above which it halts.")
    ] = 0.05,
    url: Url = None,
    token: Token = None,
) -> None:
    """Write a rollout down; nothing reaches a device before `start`.

    From a file, or from options: --name r --model m --version v2 --stage internal:100:20 --stage everyone:100
    """
    body = (
        yaml.safe_load(file.read_text()) if file else _from_options(name, model, version, stage, max_failures)
    )
    with AdminApi.from_environment(url, token) as api:
        made = api.call("POST", BASE, body)
    typer.echo(
        f"{made['name']} is a draft of {len(made['stages'])} stages; graylag rollout start {made['name']}"
    )


@app.command("list")
def list_rollouts(
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The newest rollouts."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?model={model}" if model else BASE)
    if as_json:
        show_json(found)
    else:
        rows = [(r["name"], r["model"], r["version"], r["state"], _place(r), r["reason"]) for r in found]
        show_table(("rollout", "model", "version", "state", "stage", "reason"), rows, empty=EMPTY)


@app.command("status")
def status(key: Key, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Where a rollout stands, stage by stage, and what happened to it."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{key}")
    show_json(found) if as_json else _show(found)


@app.command("watch")
def watch(key: Key, url: Url = None, token: Token = None) -> None:
    """A line for each change, until the rollout is over; status 0 only if it was completed."""
    shown = 0
    with AdminApi.from_environment(url, token) as api:
        while True:
            found = api.call("GET", f"{BASE}/{key}")
            for event in found["history"][shown:]:
                typer.echo(f"{event['at']}  {event['kind']:<10} {event['actor']:<12} {event['reason']}")
            shown = len(found["history"])
            if found["state"] in OVER:
                raise typer.Exit(0 if found["state"] == "completed" else 1)
            time.sleep(LOOK_EVERY_S)


@app.command("start")
def start(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Open the first stage."""
    _act(key, "start", reason, url, token)


@app.command("pause")
def pause(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """No new offers; what is under way goes on."""
    _act(key, "pause", reason, url, token)


@app.command("resume")
def resume(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Go on after a pause."""
    _act(key, "resume", reason, url, token)


@app.command("promote")
def promote(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Open the next stage now."""
    _act(key, "promote", reason, url, token)


@app.command("halt")
def halt(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Stop for good, and take back what was offered and not installed."""
    _act(key, "halt", reason, url, token)


@app.command("cancel")
def cancel(key: Key, reason: Reason = "", url: Url = None, token: Token = None) -> None:
    """Drop a draft."""
    _act(key, "cancel", reason, url, token)


def _act(key: str, verb: str, reason: str, url: str | None, token: str | None) -> None:
    with AdminApi.from_environment(url, token) as api:
        found = api.call("POST", f"{BASE}/{key}/{verb}", {"reason": reason})
    typer.echo(f"{found['name']} is {found['state']}, stage {_place(found)}")


def _from_options(
    name: str | None, model: str | None, version: str | None, stages: list[str] | None, max_failures: float
) -> dict[str, Any]:
    if not name or not model or not version or not stages:
        raise CliError("give --file, or all of --name, --model, --version and --stage")
    gates = [{"metric": "failure_rate", "max": max_failures}]
    return {
        "name": name,
        "model": model,
        "version": version,
        "stages": [{**_stage(text), "gates": gates} for text in stages],
    }


def _stage(text: str) -> dict[str, Any]:
    cohort, _, rest = text.partition(":")
    percent, _, reports = rest.partition(":")
    try:
        return {"cohort": cohort, "percent": float(percent), "hold": {"reports": int(reports or 1)}}
    except ValueError as error:
        raise CliError(
            f"--stage is COHORT:PERCENT[:REPORTS], for example beta:10:500, not {text!r}"
        ) from error


def _place(rollout: dict[str, Any]) -> str:
    return f"{rollout['stage'] + 1} of {len(rollout['stages'])}"


def _show(rollout: dict[str, Any]) -> None:
    typer.echo(
        f"{rollout['name']}: {rollout['model']} {rollout['version']} is {rollout['state']}, stage {_place(rollout)}"
    )
    names = ("offered", "committed", "failed", "rolled_back", "timed_out", "withdrawn", "bytes_sent")
    rows = [
        (
            stage["ordinal"] + 1,
            f"{stage['percent']:g} % of {stage['cohort']}",
            json.dumps(stage["hold"]),
            *(f"{stage['outcomes'].get(name, 0):,}" for name in names),
        )
        for stage in rollout["stages"]
    ]
    show_table(("stage", "who", "hold", *names), rows, empty="")
    for event in rollout["history"]:
        typer.echo(f"{event['at']}  {event['kind']:<10} {event['actor']:<12} {event['reason']}")
