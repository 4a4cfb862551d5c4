"""The `graylag` command: its own commands, and those that higher floors add by entry point."""

import sys
from importlib.metadata import entry_points

import typer

from migrations import StaleSchema
from service.cli import keys, processes, publish, tokens, up
from service.cli.demo import command as demo
from service.cli.http import CliError
from service.embedded import EmbeddedError
from service.errors import ServiceError

OWN = ("demo", "up", "publish", "api", "migrate", "keys", "token")


def build(first: str = "") -> typer.Typer:
    """The command with all that is installed.

    Args:
        first: the command that was asked for; one of our own does not wait for the others to load.
    """
    app = typer.Typer(
        help="Over-the-air updates for AI models on devices: signed, as small patches, rolled out step by step.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
    )
    app.command("demo")(demo.demo)
    app.command("up")(up.up)
    app.command("publish")(publish.publish)
    app.command("api")(processes.api)
    app.command("migrate")(processes.migrate)
    app.add_typer(keys.app, name="keys")
    app.add_typer(tokens.app, name="token")
    others = () if first in OWN else entry_points(group="graylag.commands")
    for entry in sorted(others, key=lambda entry: entry.name):
        found = entry.load()
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=entry.name)
        else:
            app.command(entry.name)(found)
    return app


def run() -> None:
    """Entrance of the console script: a refusal is one line on standard error and status 1."""
    try:
        build(*sys.argv[1:2])()
    except (CliError, EmbeddedError, ServiceError, StaleSchema) as error:
        typer.secho(f"graylag: {error}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None
