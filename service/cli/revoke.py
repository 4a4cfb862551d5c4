"""`graylag revoke`: take a version back from every device that runs it."""

from typing import Annotated, Any, Protocol

import typer

from service.cli.http import AdminApi
from service.cli.options import AsJson, Token, Url, show_json


class Api(Protocol):
    """What is asked of the server."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the parsed answer."""


def revoke(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[str, typer.Argument(help="Label of the version, for example v1.3.")],
    reason: Annotated[str, typer.Option(help="Why; for the audit log and for whoever asks later.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Recall a version for ever: its rollouts end, and devices that run it go to the newest good version.

    They hear of it, signed, at their next poll. To stop only a rollout, use `graylag rollout halt`.
    """
    with AdminApi.from_environment(url, token) as api:
        if not yes:
            typer.confirm(f"Recall {model} {version} from all devices? This cannot be undone", abort=True)
        view = recall(api, model, version, reason)
    if as_json:
        show_json(view)
    else:
        typer.echo(
            f"{model} {view['label']} is {view['state']}; devices that run it leave it at their next poll"
        )


def recall(api: Api, model: str, version: str, reason: str) -> dict[str, Any]:
    """The server's view of the version once it is revoked; revoking it again changes nothing.

    Raises:
        CliError: the server refuses, or is away.
    """
    view: dict[str, Any] = api.call(
        "POST", f"/v1/admin/models/{model}/versions/{version}/revoke", {"reason": reason}
    )
    return view
