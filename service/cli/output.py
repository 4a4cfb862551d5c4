"""What commands print: JSON, tables, numbers and times."""

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
WIDTH_WITHOUT_TERMINAL = 160
"""Width of tables that are written to a file or a pipe, in characters."""

_FRACTION = re.compile(r"\.\d+")


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the text `empty` if there are no rows."""
    if not rows:
        typer.echo(empty)
        return
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    # Cells hold names and reasons that users typed: `[x]` and `:100:` must not turn into markup and emoji.
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


def pluralize(number: int, noun: str) -> str:
    """A number with its noun: `1 stage`, `2,000 stages`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_time(timestamp: str | None) -> str:
    """A timestamp of the API without fractions of a second; empty for None."""
    return _FRACTION.sub("", timestamp or "")


def format_bytes(size: int) -> str:
    """A size in decimal units with three significant digits: `4.2 GB`."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {BYTE_UNITS[unit]}"
