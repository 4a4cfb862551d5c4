"""Options that most commands share."""

from typing import Annotated

import typer

UrlOption = Annotated[str | None, typer.Option("--url", help="URL of the server. Default: GRAYLAG_URL.")]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", help="API token. Default: GRAYLAG_TOKEN, which keeps it out of the process list."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
REASON_HELP = "Reason; recorded in the audit log."
