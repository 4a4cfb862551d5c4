"""`graylag migrate`: upgrade or downgrade the database schema."""

from typing import Annotated

import typer

import migrations
from service.config import settings


def migrate(
    revision: Annotated[str, typer.Argument(help="Target revision.")] = "head",
    down: Annotated[
        bool, typer.Option("--down", help="Downgrade; the data of dropped tables is lost.")
    ] = False,
) -> None:
    """Migrate the database schema to a revision. Run it before the processes of a new release."""
    url = settings().database_url
    before = migrations.current(url)
    (migrations.downgrade if down else migrations.upgrade)(url, revision)
    typer.echo(f"schema: {before or 'empty'} -> {migrations.current(url) or 'empty'}")
