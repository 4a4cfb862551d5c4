"""`graylag token`: create credentials directly in the database, before any API token exists."""

from typing import Annotated

import typer

from service.config import settings
from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.operations.fleet import enrollment
from service.operations.platform import api_tokens

app = typer.Typer(
    help="Create API tokens and enrollment tokens. Requires GRAYLAG_DATABASE_URL.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name of the token in lists and in the audit log.")]
ACTOR = "command line"


@app.command("create")
def create(
    name: Name,
    scope: Annotated[str, typer.Option(help=f"One of {', '.join(api_tokens.SCOPES)}.")] = "admin",
    person: Annotated[
        str | None,
        typer.Option(
            help="Owner of the token. All tokens of one person count as one approval. Default: the token's name."
        ),
    ] = None,
) -> None:
    """Create an API token and print it; it cannot be shown again."""
    engine = database.engine_for(settings().database_url)
    with database.transaction(engine) as session:
        typer.echo(api_tokens.create(session, name, scope, actor=ACTOR, now=utc_now(), person=person))


@app.command("create-enrollment")
def create_enrollment(
    name: Name,
    max_uses: Annotated[
        int | None, typer.Option(min=1, help="Number of devices that may enroll with it. Default: unlimited.")
    ] = None,
) -> None:
    """Create an enrollment token for devices and print it; it cannot be shown again."""
    engine = database.engine_for(settings().database_url)
    with database.transaction(engine) as session:
        token = enrollment.create_token(session, name, actor=ACTOR, now=utc_now(), max_uses=max_uses)
        typer.echo(token)
