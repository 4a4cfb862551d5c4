"""`graylag bench`: what is measured of the service, and `delta`, our patches side by side with other engines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.bench.command import intake, poll
from service.cli.bench.overload.command import overload
from workers.delta.bench import HEAD, measured, rows
from workers.delta.measure import Measurement

app = typer.Typer(help="Measure, on this machine.", no_args_is_help=True)

ExistingFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


app.command()(poll)
app.command()(intake)
app.command()(overload)


@app.callback()
def bench() -> None:
    """Measure, on this machine."""


@app.command()
def delta(
    old: ExistingFile,
    new: ExistingFile,
    *,
    tiles: Annotated[
        int, typer.Option(min=1, max=1000, help="Our own engine also on the pair this often repeated.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """The patch from OLD to NEW by every engine that is installed: size, time, memory; losers too."""
    found = dict(measured(new.name, old, new, tiles, None, ours_only=False))
    if as_json:
        typer.echo(json.dumps({"methods": [asdict(one) for one in found[new.name]], "pairs": _plain(found)}))
        return
    typer.echo("\n".join([*HEAD, *(row for name, each in found.items() for row in rows(name, each))]))


def _plain(found: dict[str, list[Measurement]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(one) for one in each] for name, each in found.items()}
