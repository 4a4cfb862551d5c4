"""`graylag why`: why a device gets what it gets."""

from typing import Annotated, Any

import typer

from service.cli.http import AdminApi
from service.cli.options import AsJson, Token, Url, show_json, show_table, to_the_second


def why(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    model: Annotated[str | None, typer.Option(help="Needed only where there are several.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """What a device's next poll would say, and how each rollout came to its part of it."""
    with AdminApi.from_environment(url, token) as api:
        path = f"/v1/admin/devices/{device}/why"
        found = api.call("GET", f"{path}?model={model}" if model else path)
    if as_json:
        show_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    offer = f" {found['version']} ({found['variant']})" if found["variant"] else ""
    again = f", worth asking again {to_the_second(found['again_at'])}" if found["again_at"] else ""
    typer.echo(
        f"{found['device_id']} ({found['status']}) runs {found['model']} {found['runs'] or '(nothing known)'}"
    )
    typer.echo(f"next poll: {found['action']}{offer}, reason {found['reason']}{again}")
    typer.echo(f"attributes: {found['attributes'] or 'none'}")
    if not found["rollouts"]:
        typer.echo("no rollout of this model is on its way")
    for rollout in found["rollouts"]:
        _show_rollout(rollout)


def _show_rollout(rollout: dict[str, Any]) -> None:
    typer.echo("")
    typer.echo(f"{rollout['rollout']} to {rollout['version']} is {rollout['state']}: {rollout['reason']}")
    typer.echo(f"  bucket {rollout['bucket']} of 10000{_holdback(rollout)}")
    for name, line in (
        ("watershed", rollout["watershed"] and f"has to run {rollout['watershed']} first"),
        ("floor", rollout["floor"] and f"may not go below counter {rollout['floor']}"),
        ("gates", _gate(rollout.get("gate") or {})),
        ("window", rollout["window"] and _window(rollout["window"])),
        ("pacing", rollout["pacing"] and _pacing(rollout["pacing"])),
        ("penalty", rollout["penalty"] and _penalty(rollout["penalty"])),
    ):
        if line:
            typer.echo(f"  {name}: {line}")
    rows = [
        (
            index + 1,
            f"{stage['percent']:g} % of {stage['cohort']}",
            _yes(stage["in_cohort"]),
            _yes(stage["in_percent"]),
            _yes(stage["open"]),
            _failing(stage["clauses"]),
        )
        for index, stage in enumerate(rollout["stages"])
    ]
    show_table(("stage", "who", "in cohort", "in percent", "open", "clauses that fail"), rows, empty="")
    for build in rollout["variants"]:
        verdict = "chosen" if build["chosen"] else "fits" if build["matches"] else "does not fit"
        failing = _failing(build["clauses"]) if not build["matches"] else ""
        typer.echo(f"  build {build['variant']} (priority {build['priority']}): {verdict} {failing}".rstrip())


def _holdback(rollout: dict[str, Any]) -> str:
    if not rollout["holdback_percent"]:
        return ""
    held = "one of them" if rollout["held_back"] else "not this one"
    return f"; the top {rollout['holdback_percent']:g} % are held back, {held}"


def _gate(gate: dict[str, Any]) -> str:
    parts = [
        f"{gate['outcome']}, {gate['reason']}" if gate.get("outcome") else "",
        f"it waits for {gate['waits_for']}" if gate.get("waits_for") else "",
        f"last said: {gate['said']}" if gate.get("said") else "",
        f"devices of class {gate['stratum']} are held back" if gate.get("held") else "",
    ]
    return "; ".join(part for part in parts if part)


def _window(window: dict[str, Any]) -> str:
    clock = f"{window['local_time']} in {window['zone']} ({window['source']})"
    return f"open, {clock}" if window["open"] else f"shut, {clock}; opens {window['next_opening']}"


def _pacing(pacing: dict[str, Any]) -> str:
    parts = []
    if pacing["open_downloads"] is not None:
        parts.append(f"{pacing['downloading']} of {pacing['open_downloads']} downloads open")
    if pacing["bytes_per_hour"] is not None:
        parts.append(f"{pacing['bytes_last_hour']:,} of {pacing['bytes_per_hour']:,} bytes in the last hour")
    return ", ".join(parts)


def _penalty(penalty: dict[str, Any]) -> str:
    retry = "; something has changed since, it may try again" if penalty["may_retry"] else ""
    return f"failed it {penalty['failures']} of {penalty['allowed']} times as things are{retry}"


def _failing(clauses: list[dict[str, Any]]) -> str:
    """The clauses that do not hold; below `not`, those that do."""
    return "; ".join(
        f"{clause['path']}: {clause['test']}, it has {clause['seen']!r}"
        for clause in clauses
        if clause["holds"] == (".not" in clause["path"])
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
