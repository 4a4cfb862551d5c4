"""What people do to a rollout: one command for each verb of `POST /v1/admin/rollouts/{key}/{verb}`."""

from collections.abc import Callable
from typing import Annotated

import typer

from service.cli.http import AdminApi, quoted
from service.cli.options import AsJson, Token, Url, show_json
from service.cli.rollout_show import BASE, Key, place

Reason = Annotated[str, typer.Option(help="Why; goes into the history and the audit log.")]

VERBS = {
    "start": "Open the first stage; or wait for approvals, for its time, or for its way back to be rehearsed.",
    "approve": "Agree to somebody else's rollout; the last approval that it needs starts it, or schedules it.",
    "pause": "No new offers; what is under way goes on.",
    "resume": "Go on after a pause.",
    "promote": "Open the next stage now; past what the stage waits for only with --reason.",
    "activate": "Let the devices switch that have staged the version (activation: together).",
    "halt": "Stop for good, and take back what was offered and not installed; needs --reason.",
    "rollback": "Halt, and bring back the devices that have installed it; needs --reason.",
    "cancel": "Drop a rollout that has not started.",
}
"""Verb -> what it does, for `--help`."""


def command_of(verb: str) -> Callable[..., None]:
    """The command that does one verb."""

    def act(
        key: Key, reason: Reason = "", url: Url = None, token: Token = None, as_json: AsJson = False
    ) -> None:
        with AdminApi.from_environment(url, token) as api:
            found = api.once(f"{BASE}/{quoted(key)}/{verb}", {"reason": reason})
        if as_json:
            show_json(found)
        else:
            waits = f"; it waits for {found['waits_for']}" if found["waits_for"] else ""
            typer.echo(f"{found['name']} is {found['state']}, stage {place(found)}{waits}")

    act.__doc__ = VERBS[verb]
    return act


def release(
    key: Key,
    stratum: Annotated[str, typer.Argument(help="As `graylag rollout status` shows it, held back.")],
    reason: Reason = "",
    url: Url = None,
    token: Token = None,
) -> None:
    """Let a class of device that was held back have the version again; its reports so far are forgiven."""
    with AdminApi.from_environment(url, token) as api:
        api.call("POST", f"{BASE}/{quoted(key)}/release", {"stratum": stratum, "reason": reason})
    typer.echo(f"{stratum} gets {key} again")
