"""The `graylag` command: every part of it is an entry point, loaded when it is asked for."""

import sys
from importlib.metadata import EntryPoint, entry_points

import typer

from service.errors import Refusal

GROUP = "graylag.commands"


def build(first: str = "") -> typer.Typer:
    """The command; with `first` the name of a part, only that part is loaded.

    Args:
        first: the first word on the command line.
    """
    app = typer.Typer(
        help="Over-the-air updates for AI models on devices: signed, as small patches, rolled out step by step.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    # Without a callback, Typer would take a single loaded part for the whole command.
    app.callback()(_whole)
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in [first] if first in installed else sorted(installed):
        _add(app, installed[name])
    return app


def run() -> None:
    """Entrance of the console script: a refusal is one line on standard error and status 1."""
    try:
        build(*sys.argv[1:2])()
    except Refusal as error:
        typer.secho(f"graylag: {error}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None


def _whole() -> None:
    """Nothing is common to all parts."""


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    found = entry.load()
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=entry.name)
    else:
        app.command(entry.name)(found)
