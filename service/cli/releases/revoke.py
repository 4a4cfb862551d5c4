"""`graylag revoke`: withdraw a version from every device that runs it."""

from typing import Annotated, Any, Protocol

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import REASON_HELP, JsonOption, TokenOption, UrlOption
from service.cli.output import print_json


class Api(Protocol):
    """The part of `AdminApi` that revoking needs."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return its parsed JSON."""


def revoke(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[str, typer.Argument(help="Label of the version, for example v1.3.")],
    reason: Annotated[str, typer.Option(help=REASON_HELP)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a version permanently: its rollouts end, and no device is offered it again.

    Devices that run it are ordered to the newest good version at their next poll. To stop only one rollout,
    use `graylag rollout halt`.
    """
    with AdminApi.from_environment(url, token) as api:
        if not yes:
            typer.confirm(f"Revoke {model} {version} on all devices? This cannot be undone", abort=True)
        revoked = revoke_version(api, model, version, reason)
    if as_json:
        print_json(revoked)
    else:
        typer.echo(
            f"{model} {revoked['label']} is {revoked['state']}; devices that run it leave it at their next poll"
        )


def revoke_version(api: Api, model: str, version: str, reason: str) -> dict[str, Any]:
    """Revoke a version and return it; revoking a revoked version changes nothing.

    Raises:
        CliError: the server cannot be reached, or answers with an error.
    """
    path = f"/v1/admin/models/{quote_segment(model)}/versions/{quote_segment(version)}/revoke"
    revoked: dict[str, Any] = api.call("POST", path, {"reason": reason})
    return revoked
