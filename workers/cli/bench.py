"""`graylag bench`: benchmarks of the service, and `delta`, which compares patch engines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from service.benchmarks.command import events, poll
from workers.delta.benchmark.comparison import TABLE_HEAD, measure_pair_and_repeated, table_rows
from workers.delta.benchmark.measurement import Measurement

app = typer.Typer(help="Run benchmarks on this machine.", no_args_is_help=True)

OldFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The earlier version of the file.")
]
NewFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The new version of the file.")
]


app.command()(poll)
app.command()(events)


@app.callback()
def bench() -> None:
    """Run benchmarks on this machine."""


@app.command()
def delta(
    old: OldFile,
    new: NewFile,
    *,
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, help="Also measure our engine on N copies of the pair.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Compare the installed patch engines on one pair of files: patch size, time and memory."""
    results = dict(measure_pair_and_repeated(new.name, old, new, repeat, None, ours_only=False))
    if as_json:
        pairs = _as_json(results)
        typer.echo(json.dumps({"methods": pairs[new.name], "pairs": pairs}))
        return
    rows = [row for label, measurements in results.items() for row in table_rows(label, measurements)]
    typer.echo("\n".join([*TABLE_HEAD, *rows]))


def _as_json(results: dict[str, list[Measurement]]) -> dict[str, list[dict[str, Any]]]:
    return {label: [asdict(measurement) for measurement in each] for label, each in results.items()}
