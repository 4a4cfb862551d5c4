"""The `graylag` command: every part of it is an entry point, loaded when it is asked for."""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

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
    """Entrance of the console script: what is no fault of ours is one line on standard error and status 1."""
    try:
        build(*sys.argv[1:2])()
    except Exception as error:
        line = explained(error)
        if line is None:
            raise
        typer.secho(f"graylag: {line}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None


def explained(error: Exception) -> str | None:
    """The line for a person whom this machine, a file or the database has failed; None for a fault of ours."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    if isinstance(error, UnicodeError):
        return f"not UTF-8: {error.object!r:.200}" if hasattr(error, "object") else str(error)
    # Loaded, where it raised this: most commands need no database, and would wait for its library.
    library = sys.modules.get("sqlalchemy.exc")
    if library is not None and isinstance(error, library.OperationalError):
        return f"the database does not answer: {' '.join(str(error.orig).split())}"
    return None


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
