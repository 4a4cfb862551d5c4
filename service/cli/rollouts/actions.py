"""`graylag rollout start | approve | pause | ...`: one command per action of the admin API."""

from collections.abc import Callable
from typing import Annotated

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import print_json
from service.cli.rollouts.status import BASE, Key, stage_position

Reason = Annotated[str, typer.Option(help="Reason; recorded in the rollout's history and in the audit log.")]

ACTIONS = {
    "start": "Open the first stage, or wait for approvals, for the start time or for rollback patches.",
    "approve": "Approve a rollout of another person; the last required approval starts or schedules it.",
    "pause": "Stop new offers; devices that are updating continue.",
    "resume": "Continue a paused rollout.",
    "promote": "Open the next stage now; --reason is required if the current stage's requirements are not met.",
    "activate": "Let devices switch to the version that they have staged (activation: deferred).",
    "halt": "Stop permanently and withdraw offers that are not installed yet; --reason is required.",
    "rollback": "Halt, and return devices that have installed the version; --reason is required.",
    "cancel": "Cancel a rollout that has not started.",
}
"""Action -> help text."""


def action_command(action: str) -> Callable[..., None]:
    """The command function of one action."""

    def run_action(
        key: Key,
        reason: Reason = "",
        url: UrlOption = None,
        token: TokenOption = None,
        as_json: JsonOption = False,
    ) -> None:
        with AdminApi.from_environment(url, token) as api:
            rollout = api.post_idempotent(f"{BASE}/{quote_segment(key)}/{action}", {"reason": reason})
        if as_json:
            print_json(rollout)
            return
        waiting = f"; waiting for {rollout['waiting_for']}" if rollout["waiting_for"] else ""
        typer.echo(f"{rollout['name']} is {rollout['state']}, stage {stage_position(rollout)}{waiting}")

    run_action.__doc__ = ACTIONS[action]
    return run_action


def resume_class(
    key: Key,
    device_class: Annotated[
        str, typer.Argument(help="Paused device class, as shown by `graylag rollout status`.")
    ],
    reason: Reason = "",
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Offer the version to a paused device class again; its reports so far no longer count."""
    body = {"device_class": device_class, "reason": reason}
    with AdminApi.from_environment(url, token) as api:
        api.call("POST", f"{BASE}/{quote_segment(key)}/resume-class", body)
    typer.echo(f"{key} is resumed for {device_class}")
