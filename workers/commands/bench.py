"""`graylag bench`: what is measured of the service, and `delta`, our patches side by side with other engines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.cli.bench.command import intake, poll
from workers.delta.bench import HEAD, measure_pair, rows

app = typer.Typer(help="Measure, on this machine.", no_args_is_help=True)

ExistingFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


app.command()(poll)
app.command()(intake)


@app.callback()
def bench() -> None:
    """Measure, on this machine."""


@app.command()
def delta(
    old: ExistingFile,
    new: ExistingFile,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """The patch from OLD to NEW by every engine that is installed: size, time, memory; losers too."""
    measured = measure_pair(old, new)
    if as_json:
        typer.echo(json.dumps({"methods": [asdict(one) for one in measured]}))
        return
    typer.echo("\n".join([*HEAD, *rows(new.name, measured)]))
