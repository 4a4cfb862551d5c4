"""Looking at rollouts: `graylag rollout list | status | watch`."""

import json
import time
from typing import Annotated, Any

import typer

from service.cli.gates import show_gates, show_verdict
from service.cli.http import AdminApi, CliError, NoAnswer, quoted
from service.cli.options import AsJson, Token, Url, counted, readable, show_json, show_table, to_the_second

Key = Annotated[str, typer.Argument(help="Name or id of the rollout.")]
BASE = "/v1/admin/rollouts"
EMPTY = "no rollouts yet: graylag rollout create --help"
OVER = ("completed", "halted", "cancelled", "rolled_back")
MOVING = ("running", "completed")
LOOK_EVERY_S = 1.0
PATIENCE_S = 300.0
"""How long a watch goes on without an answer."""
BAD = {"failed": "failed", "rolled_back": "rolled back", "timed_out": "silent", "withdrawn": "withdrawn"}


def list_rollouts(
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    state: Annotated[str | None, typer.Option(help="In this state only, for example running.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The newest rollouts."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?model={quoted(model)}" if model else BASE)
    chosen = [rollout for rollout in found if state in (None, rollout["state"])]
    if as_json:
        show_json(chosen)
    else:
        rows = [(r["name"], r["model"], r["version"], r["state"], place(r), r["reason"]) for r in chosen]
        show_table(("rollout", "model", "version", "state", "stage", "reason"), rows, empty=EMPTY)


def status(key: Key, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Where a rollout stands, stage by stage, and what happened to it."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quoted(key)}")
        gates = api.call("GET", f"{BASE}/{quoted(key)}/gates")
        moving = found["state"] in MOVING
        outlook = _ask_outlook(api, key) if moving else None
    if as_json:
        show_json(found | {"gates": gates, "outlook": outlook})
    else:
        _show(found)
        if outlook is not None:
            typer.echo(_outlook(outlook))
        show_gates(gates)
        for event in found["history"]:
            typer.echo(_line(event))


def watch(key: Key, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """A line for each change, until the rollout is over; status 0 only if it was completed."""
    shown = 0
    with AdminApi.from_environment(url, token) as api:
        while True:
            found = _patiently(api, f"{BASE}/{quoted(key)}")
            for event in found["history"]:
                if event["sequence"] > shown:
                    typer.echo(json.dumps(event) if as_json else _line(event))
            shown = found["history"][-1]["sequence"]
            if found["state"] in OVER:
                raise typer.Exit(0 if found["state"] == "completed" else 1)
            time.sleep(LOOK_EVERY_S)


def _patiently(api: AdminApi, path: str) -> Any:
    """An answer, although the server may be away for a while: a rollout takes longer than a new release of ours."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return api.call("GET", path)
        except NoAnswer:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_EVERY_S)


def verdicts(
    key: Key,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 20,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """What the gates of a rollout have said, newest first."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}/{quoted(key)}/verdicts?limit={limit}")
    if as_json:
        show_json(found)
    else:
        rows = [show_verdict(verdict) for verdict in found]
        show_table(("at", "stage", "outcome", "cause", "reason"), rows, empty="no verdict yet")


def place(rollout: dict[str, Any]) -> str:
    """Which of its stages a rollout is in, for people."""
    return f"{rollout['stage'] + 1} of {len(rollout['stages'])}"


def _show(rollout: dict[str, Any]) -> None:
    typer.echo(
        f"{rollout['name']}: {rollout['model']} {rollout['version']} is {rollout['state']}, stage {place(rollout)}"
    )
    if rollout["waits_for"]:
        typer.echo(f"it waits for {rollout['waits_for']}")
    for delay in rollout.get("delays", []):  # a server may be older than this command
        typer.echo(f"  {delay}")
    for stage in rollout["stages"]:
        typer.echo(
            f"stage {stage['ordinal'] + 1}: {stage['percent']:g} % of {stage['cohort']}; {_hold(stage['hold'])}"
        )
        if stage["outcomes"]:
            typer.echo(f"  {_outcomes(stage['outcomes'])}")
    if rollout["returns"]:
        typer.echo(
            "brought back: " + ", ".join(f"{count:,} {name}" for name, count in rollout["returns"].items())
        )


def _hold(hold: dict[str, Any]) -> str:
    """What must have happened before a stage ends, besides its gates."""
    parts = [
        f"{hold['minutes']:g} minutes" if hold.get("minutes") else "",
        f"{hold.get('reports', 1):,} report{'' if hold.get('reports', 1) == 1 else 's'}",
        f"{hold['min_coverage']:.0%} of its attempts reported" if hold.get("min_coverage") else "",
        "a person's word (graylag rollout promote)" if hold.get("approval") else "",
    ]
    return f"ends with {', '.join(part for part in parts if part)}"


def _outcomes(outcomes: dict[str, int]) -> str:
    always = f"{outcomes.get('offered', 0):,} offered, {outcomes.get('committed', 0):,} committed"
    bad = [f"{outcomes[name]:,} {word}" for name, word in BAD.items() if outcomes.get(name)]
    return f"{', '.join([always, *bad])}; {readable(outcomes.get('bytes_sent', 0))} sent"


def _ask_outlook(api: AdminApi, key: str) -> dict[str, Any] | None:
    """None while polls do not know the rollout's version yet."""
    try:
        found: dict[str, Any] = api.call("GET", f"{BASE}/{quoted(key)}/outlook")
    except CliError as error:
        if error.code != "version_not_ready":
            raise
        return None
    return found


def _outlook(found: dict[str, Any]) -> str:
    left = f"left: {counted(found['devices_left'], 'device')}, {found['bytes_left']:,} bytes"
    later = f" (and {found['devices_later']:,} devices in later stages)" if found["devices_later"] else ""
    if found["done_at"] is None:
        return f"{left}{later}; nothing moves"
    if found["devices_left"] == 0:
        return f"{left}{later}"
    limit = "the devices that come" if found["limited_by"] == "devices" else found["limited_by"]
    return f"{left}{later}; done at {to_the_second(found['done_at'])}, {found['per_hour']:,.0f} devices an hour, limited by {limit}"


def _line(event: dict[str, Any]) -> str:
    return f"{to_the_second(event['at'])}  {event['kind']:<10} {event['actor']:<12} {event['reason']}"
