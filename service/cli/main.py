"""The `graylag` command: every part of it is an entry point, loaded when it is asked for."""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from service.cli.faults import explained

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
    """Entrance of the console script: what is no fault of ours is one line on standard error and status 1."""
    try:
        build(*sys.argv[1:2])()
    except Exception as error:
        line = explained(error)
        if line is None:
            raise
        typer.secho(f"graylag: {line}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None


def _whole() -> None:
    """Nothing is common to all parts."""


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    found = entry.load()
    if isinstance(found, typer.Typer):
        for command in found.registered_commands:
            command.help = command.help or _unbroken(command.callback)
        app.add_typer(found, name=entry.name)
    else:
        app.command(entry.name, help=_unbroken(found))(found)


def _unbroken(command: Callable[..., Any] | None) -> str:
    """The docstring as help: Typer keeps a paragraph's line breaks, which are those of our source."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
