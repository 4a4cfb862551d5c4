"""`graylag why`: why a device gets what it gets."""

from typing import Annotated, Any

import typer

from service.cli.http import AdminApi
from service.cli.options import AsJson, Token, Url, show_json, show_table


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
    typer.echo(
        f"{found['device_id']} ({found['status']}) runs {found['model']} {found['runs'] or '(nothing known)'}"
    )
    typer.echo(f"next poll: {found['action']}{offer}, reason {found['reason']}")
    typer.echo(f"attributes: {found['attributes'] or 'none'}")
    rows = [
        (
            rollout["rollout"],
            rollout["state"],
            rollout["reason"],
            rollout["bucket"],
            f"{stage['percent']:g} % of {stage['cohort']}",
            _yes(stage["in_cohort"]),
            _yes(stage["in_percent"]),
            _yes(stage["open"]),
        )
        for rollout in found["rollouts"]
        for stage in rollout["stages"]
    ]
    headings = ("rollout", "state", "reason", "bucket", "stage", "in cohort", "in percent", "open")
    show_table(headings, rows, empty="no rollout of this model is on its way")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
