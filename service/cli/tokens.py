"""`graylag token`: the first credentials, straight into the database."""

from typing import Annotated

import typer

from service import database
from service.config import settings
from service.operations import access, enrolments
from service.tokens import utc_now

app = typer.Typer(help="API tokens and enrolment tokens (needs GRAYLAG_DATABASE_URL).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What to call it in lists and in the audit log.")]


@app.command("create")
def create(
    name: Name,
    scope: Annotated[str, typer.Option(help=f"One of {', '.join(access.SCOPES)}.")] = "admin",
    person: Annotated[
        str | None,
        typer.Option(
            help="Whose it is, if not its name's: all tokens of one person are one voice in approvals."
        ),
    ] = None,
) -> None:
    """Make an API token; it is shown this once."""
    engine = database.engine_for(settings().database_url)
    with database.transaction(engine) as session:
        typer.echo(
            access.create_api_token(session, name, scope, actor="command line", now=utc_now(), person=person)
        )


@app.command("enrolment")
def enrolment(
    name: Name,
    max_uses: Annotated[
        int | None, typer.Option(min=1, help="How many devices it lets in; unlimited if absent.")
    ] = None,
) -> None:
    """Make an enrolment token; it is shown this once."""
    engine = database.engine_for(settings().database_url)
    with database.transaction(engine) as session:
        typer.echo(
            enrolments.create_enrolment_token(
                session, name, actor="command line", now=utc_now(), max_uses=max_uses
            )
        )
