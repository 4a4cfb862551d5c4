"""Options that commands against a server share."""

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Url = Annotated[str | None, typer.Option(help="The server; else GRAYLAG_URL.")]
Token = Annotated[str | None, typer.Option(help="API token; better in GRAYLAG_TOKEN.")]
UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
PIPED_WIDTH = 160
"""Of tables that go into a file or a pipe: there is no window that they have to fit in."""

_FRACTION = re.compile(r"\.\d+")

AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]


def show_json(value: Any) -> None:
    """For a script."""
    typer.echo(json.dumps(value, indent=2, default=str))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """For a person; `empty` is what to do when there is nothing yet."""
    if not rows:
        typer.echo(empty)
        return
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")  # broken into lines, never cut short
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # Words of people and devices: `[x]` and `:100:` mean themselves.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


def counted(number: int, noun: str) -> str:
    """`1 stage`, `2,000 stages`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def to_the_second(moment: str | None) -> str:
    """A moment of the API without what is below a second; empty for none."""
    return _FRACTION.sub("", moment or "")


def readable(size: int) -> str:
    """A number of bytes, with three digits and a unit of a thousand."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {UNITS[unit]}"
