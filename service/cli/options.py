"""Options that commands against a server share."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Url = Annotated[str | None, typer.Option(help="The server; else GRAYLAG_URL.")]
Token = Annotated[str | None, typer.Option(help="API token; better in GRAYLAG_TOKEN.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]


def show_json(value: Any) -> None:
    """For a script."""
    typer.echo(json.dumps(value, indent=2, default=str))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """For a person; `empty` is what to do when there is nothing yet."""
    if not rows:
        typer.echo(empty)
        return
    table = Table(*headings)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # Words of people and devices: `[x]` and `:100:` mean themselves.
    Console(markup=False, emoji=False, highlight=False).print(table)
