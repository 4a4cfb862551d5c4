"""`graylag why`: why a device gets the update that it gets, or none."""

from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_time, print_json, print_table


def why(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    model: Annotated[
        str | None, typer.Option(help="Name of the model; required if the server has several.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain the next poll response of a device: the decision, and how each rollout contributes to it."""
    with AdminApi.from_environment(url, token) as api:
        path = f"/v1/admin/devices/{quote_segment(device)}/why"
        found = api.call("GET", f"{path}?model={quote_segment(model)}" if model else path)
    if as_json:
        print_json(found)
    else:
        _print_decision(found)


def _print_decision(found: dict[str, Any]) -> None:
    offer = f" {found['version']} ({found['variant']})" if found["variant"] else ""
    retry = f", may change at {format_time(found['retry_at'])}" if found["retry_at"] else ""
    typer.echo(
        f"{found['device_id']} ({found['status']}) runs {found['model']} {found['current_version'] or '(unknown version)'}"
    )
    typer.echo(f"next poll: {found['action']}{offer}, reason {found['reason']}{retry}")
    typer.echo(f"attributes: {found['attributes'] or 'none'}")
    if not found["rollouts"]:
        typer.echo("this model has no active rollout")
    for rollout in found["rollouts"]:
        _print_rollout(rollout)


def _print_rollout(rollout: dict[str, Any]) -> None:
    typer.echo("")
    typer.echo(f"{rollout['rollout']} to {rollout['version']} is {rollout['state']}: {rollout['reason']}")
    typer.echo(f"  bucket {rollout['bucket']} of 10000{_holdout(rollout)}")
    for label, text in (
        ("barrier", rollout["barrier"] and f"must run {rollout['barrier']} first"),
        ("floor", rollout["floor"] and f"may not go below counter {rollout['floor']}"),
        ("gates", _gates(rollout.get("gate") or {})),
        ("window", rollout["window"] and _window(rollout["window"])),
        ("pacing", rollout["pacing"] and _pacing(rollout["pacing"])),
        ("failures", rollout["failure_limit"] and _failure_limit(rollout["failure_limit"])),
    ):
        if text:
            typer.echo(f"  {label}: {text}")
    headings = ("stage", "devices of", "in cohort", "in percentage", "open", "clauses that do not match")
    print_table(headings, _stage_rows(rollout["stages"]), empty="")
    for variant in rollout["variants"]:
        typer.echo(_variant_line(variant))


def _stage_rows(stages: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            number,
            f"{stage['percent']:g} % of {stage['cohort']}",
            _yes_or_no(stage["in_cohort"]),
            _yes_or_no(stage["in_percent"]),
            _yes_or_no(stage["open"]),
            _failed_clauses(stage["clauses"]),
        )
        for number, stage in enumerate(stages, 1)
    ]


def _variant_line(variant: dict[str, Any]) -> str:
    result = "selected" if variant["chosen"] else "matches" if variant["matches"] else "does not match"
    failed = _failed_clauses(variant["clauses"]) if not variant["matches"] else ""
    return f"  variant {variant['variant']} (priority {variant['priority']}): {result} {failed}".rstrip()


def _holdout(rollout: dict[str, Any]) -> str:
    if not rollout["holdout_percent"]:
        return ""
    membership = "is in the holdout" if rollout["in_holdout"] else "is not in the holdout"
    return f"; {membership} of {rollout['holdout_percent']:g} %"


def _gates(gate: dict[str, Any]) -> str:
    parts = [
        f"{gate['decision']}, {gate['reason']}" if gate.get("decision") else "",
        f"waiting for {gate['waiting_for']}" if gate.get("waiting_for") else "",
        f"reason of the last action: {gate['last_action_reason']}" if gate.get("last_action_reason") else "",
        f"device class {gate['device_class']} is paused" if gate.get("paused") else "",
    ]
    return "; ".join(part for part in parts if part)


def _window(window: dict[str, Any]) -> str:
    clock = f"local time {window['local_time']} in {window['zone']} ({window['source']})"
    return f"open, {clock}" if window["open"] else f"closed, {clock}; opens {window['next_opening']}"


def _pacing(pacing: dict[str, Any]) -> str:
    parts = []
    if pacing["max_open_downloads"] is not None:
        parts.append(f"{pacing['downloading']} of {pacing['max_open_downloads']} downloads open")
    if pacing["max_bytes_per_hour"] is not None:
        parts.append(
            f"{pacing['bytes_last_hour']:,} of {pacing['max_bytes_per_hour']:,} bytes in the last hour"
        )
    return ", ".join(parts)


def _failure_limit(limit: dict[str, Any]) -> str:
    retry = "; may retry, because something has changed since" if limit["may_retry"] else ""
    return f"failed this version {limit['failures']} of {limit['max_failures']} times{retry}"


def _failed_clauses(clauses: list[dict[str, Any]]) -> str:
    """The clauses that keep a rule from matching; inside `not` these are the ones that hold."""
    return "; ".join(
        f"{clause['path']}: {clause['test']}, the device has {clause['value']!r}"
        for clause in clauses
        if clause["matches"] == (".not" in clause["path"])
    )


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
