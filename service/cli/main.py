"""Entry point of the `graylag` command. Subcommands are entry points, loaded when they are asked for."""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from service.cli.errors import user_message

ENTRY_POINT_GROUP = "graylag.commands"


def build_app(subcommand: str = "") -> typer.Typer:
    """The command with all its subcommands.

    Args:
        subcommand: the only one to load; all of them are loaded if there is none of this name.
    """
    app = typer.Typer(
        help="Over-the-air updates for AI models on devices: signed, as small patches, rolled out in stages.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    # Without a callback Typer would make a single subcommand the whole command.
    app.callback()(_no_shared_options)
    installed = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    for name in [subcommand] if subcommand in installed else sorted(installed):
        _add_subcommand(app, installed[name])
    return app


def run() -> None:
    """Run the command; an error that the user can fix is one line on standard error and exit status 1."""
    try:
        build_app(*sys.argv[1:2])()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        typer.secho(f"graylag: {message}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None


def _no_shared_options() -> None:
    """Subcommands share no options."""


def _add_subcommand(app: typer.Typer, entry: EntryPoint) -> None:
    loaded = entry.load()
    if isinstance(loaded, typer.Typer):
        for command in loaded.registered_commands:
            command.help = command.help or _help_from_docstring(command.callback)
        app.add_typer(loaded, name=entry.name)
    else:
        app.command(entry.name, help=_help_from_docstring(loaded))(loaded)


def _help_from_docstring(command: Callable[..., Any] | None) -> str:
    """The docstring with each paragraph on one line: Typer would keep the line breaks of the source."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


if __name__ == "__main__":
    run()
