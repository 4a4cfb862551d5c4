"""`graylag rollout list | status | watch | gate-history`."""

import json
import time
from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.errors import CliError, NoResponse
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_bytes, format_time, pluralize, print_json, print_table
from service.cli.rollouts.gates import gate_evaluation_row, print_gates

Key = Annotated[str, typer.Argument(help="Name or id of the rollout.")]
BASE = "/v1/admin/rollouts"
NO_ROLLOUTS = "no rollouts yet; create one with: graylag rollout create"
FINAL_STATES = ("completed", "halted", "cancelled", "rolled_back")
STATES_WITH_FORECAST = ("running", "completed")
POLL_INTERVAL_S = 1.0
MAX_OUTAGE_S = 300.0
"""`watch` gives up after this long without a response."""
FAILURE_LABELS = {
    "failed": "failed",
    "rolled_back": "rolled back",
    "timed_out": "timed out",
    "withdrawn": "withdrawn",
}


def list_rollouts(
    model: Annotated[str | None, typer.Option(help="Only rollouts of this model.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only rollouts in this state, for example running.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List rollouts, newest first."""
    with AdminApi.from_environment(url, token) as api:
        found = api.call("GET", f"{BASE}?model={quote_segment(model)}" if model else BASE)
    rollouts = [rollout for rollout in found if state in (None, rollout["state"])]
    if as_json:
        print_json(rollouts)
    else:
        rows = [
            (r["name"], r["model"], r["version"], r["state"], stage_position(r), r["reason"])
            for r in rollouts
        ]
        print_table(("rollout", "model", "version", "state", "stage", "reason"), rows, empty=NO_ROLLOUTS)


def status(key: Key, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Show the state of a rollout: stages, outcomes, gates, forecast and history."""
    path = f"{BASE}/{quote_segment(key)}"
    with AdminApi.from_environment(url, token) as api:
        rollout = api.call("GET", path)
        gates = api.call("GET", f"{path}/gates")
        forecast = _get_forecast(api, path) if rollout["state"] in STATES_WITH_FORECAST else None
    if as_json:
        print_json(rollout | {"gates": gates, "forecast": forecast})
        return
    _print_rollout(rollout)
    if forecast is not None:
        typer.echo(_forecast_line(forecast))
    print_gates(gates)
    for event in rollout["history"]:
        typer.echo(_event_line(event))


def watch(key: Key, url: UrlOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Print each event of a rollout until it ends.

    Exits with status 0 if it completed, and 1 if it was halted, cancelled or rolled back.
    """
    shown = 0
    with AdminApi.from_environment(url, token) as api:
        while True:
            rollout = _get_despite_outage(api, f"{BASE}/{quote_segment(key)}")
            for event in rollout["history"]:
                if event["sequence"] > shown:
                    typer.echo(json.dumps(event) if as_json else _event_line(event))
            shown = rollout["history"][-1]["sequence"]
            if rollout["state"] in FINAL_STATES:
                raise typer.Exit(0 if rollout["state"] == "completed" else 1)
            time.sleep(POLL_INTERVAL_S)


def gate_history(
    key: Key,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Number of evaluations.")] = 20,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List past gate evaluations of a rollout, newest first."""
    with AdminApi.from_environment(url, token) as api:
        evaluations = api.call("GET", f"{BASE}/{quote_segment(key)}/gate-history?limit={limit}")
    if as_json:
        print_json(evaluations)
    else:
        rows = [gate_evaluation_row(evaluation) for evaluation in evaluations]
        print_table(("at", "stage", "decision", "cause", "reason"), rows, empty="no gate evaluations yet")


def stage_position(rollout: dict[str, Any]) -> str:
    """The current stage of a rollout as text: `2 of 4`."""
    return f"{rollout['stage'] + 1} of {len(rollout['stages'])}"


def _get_despite_outage(api: AdminApi, path: str) -> Any:
    """GET, retried while the server does not respond: a rollout outlasts a restart of the service.

    Raises:
        NoResponse: there was none for `MAX_OUTAGE_S`.
    """
    deadline = time.monotonic() + MAX_OUTAGE_S
    while True:
        try:
            return api.call("GET", path)
        except NoResponse:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL_S)


def _print_rollout(rollout: dict[str, Any]) -> None:
    typer.echo(
        f"{rollout['name']}: {rollout['model']} {rollout['version']} is {rollout['state']}, stage {stage_position(rollout)}"
    )
    if rollout["waiting_for"]:
        typer.echo(f"waiting for {rollout['waiting_for']}")
    for delay in rollout["rollback_patches"]:
        typer.echo(f"  {delay}")
    for stage in rollout["stages"]:
        typer.echo(
            f"stage {stage['ordinal'] + 1}: {stage['percent']:g} % of {stage['cohort']}; {_requirements(stage['advance_when'])}"
        )
        if stage["outcomes"]:
            typer.echo(f"  {_outcomes(stage['outcomes'])}")
    if rollout["rollback_outcomes"]:
        typer.echo(
            "rollback: "
            + ", ".join(f"{count:,} {name}" for name, count in rollout["rollback_outcomes"].items())
        )


def _requirements(advance_when: dict[str, Any]) -> str:
    """What a stage requires before it advances, besides its gates."""
    parts = [
        f"{advance_when['minutes']:g} minutes" if advance_when.get("minutes") else "",
        pluralize(advance_when.get("reports", 1), "report"),
        f"reports of {advance_when['min_coverage']:.0%} of its devices"
        if advance_when.get("min_coverage")
        else "",
        "an approval (graylag rollout promote)" if advance_when.get("approval") else "",
    ]
    return f"advances after {', '.join(part for part in parts if part)}"


def _outcomes(outcomes: dict[str, int]) -> str:
    good = f"{outcomes.get('offered', 0):,} offered, {outcomes.get('committed', 0):,} committed"
    bad = [f"{outcomes[name]:,} {label}" for name, label in FAILURE_LABELS.items() if outcomes.get(name)]
    return f"{', '.join([good, *bad])}; {format_bytes(outcomes.get('bytes_sent', 0))} sent"


def _get_forecast(api: AdminApi, path: str) -> dict[str, Any] | None:
    """The forecast; None while the API process has not loaded the version yet."""
    try:
        forecast: dict[str, Any] = api.call("GET", f"{path}/forecast")
    except CliError as error:
        if error.code != "version_not_ready":
            raise
        return None
    return forecast


def _forecast_line(forecast: dict[str, Any]) -> str:
    left = f"left: {pluralize(forecast['devices_left'], 'device')}, {forecast['bytes_left']:,} bytes"
    later = f" (and {forecast['devices_later']:,} in later stages)" if forecast["devices_later"] else ""
    if forecast["done_at"] is None:
        return f"{left}{later}; no progress in the last hour"
    if forecast["devices_left"] == 0:
        return f"{left}{later}"
    limit = (
        "the rate at which devices poll" if forecast["limited_by"] == "devices" else forecast["limited_by"]
    )
    return (
        f"{left}{later}; done at {format_time(forecast['done_at'])}, {forecast['per_hour']:,.0f} devices per hour, "
        f"limited by {limit}"
    )


def _event_line(event: dict[str, Any]) -> str:
    return f"{format_time(event['at'])}  {event['kind']:<10} {event['actor']:<12} {event['reason']}"
