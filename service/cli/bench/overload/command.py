"""The command: real servers, a small API process, both shapes; a table or JSON."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service import database
from service.cli.bench import world
from service.cli.bench.fleet import handset
from service.cli.bench.overload.plan import Shape
from service.cli.bench.overload.small import NICE, bound, cores, small_api
from service.cli.bench.overload.story import overload as run
from service.cli.bench.stage import filled, servers
from service.config import Settings
from service.observability import configure_logging
from service.operations import access
from service.tokens import utc_now

DEVICES = 2000


def overload(
    times: Annotated[float, typer.Option(min=1, max=100, help="The rate, in peaks of the server.")] = 10,
    seconds: Annotated[float, typer.Option(min=2, max=600, help="How long it lasts.")] = 20,
    share: Annotated[float, typer.Option(help="Of one core for the API process: 1, 0.5, 0.2 or 0.1.")] = 0.2,
    shapes: Annotated[
        list[Shape] | None, typer.Option("--shape", help="Connections kept open, or a new one each time.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Ten times what one API process can answer, at a rate that does not wait for answers: what still works."""
    if share not in NICE:
        raise typer.BadParameter(f"one of {', '.join(map(str, NICE))}", param_hint="--share")
    configure_logging("console", "warning")
    console, where = Console(stderr=True, highlight=False), cores()
    with bound(where.others), servers() as (directory, endpoints):
        console.print("· filling a world: 20,000 devices, 20 rollouts")
        settings = filled(endpoints, directory, world.USUAL, [handset(index) for index in range(DEVICES)])
        token = _viewer(settings)

        async def one(shape: Shape) -> dict[str, Any]:
            async with small_api(settings, directory, share, where) as (pid, port):
                console.print(f"· {shape}: the peak, then {times:g} times that for {seconds:g} s")
                return await run(
                    pid=pid,
                    port=port,
                    shape=shape,
                    times=times,
                    seconds=seconds,
                    database_url=settings.database_url,
                    token=token,
                )

        found = [asyncio.run(one(shape)) for shape in shapes or list(Shape)]
    result = {"share": share, "pinned": bool(where.server), "shapes": found}
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print(_table(result))


def _viewer(settings: Settings) -> str:
    engine = database.engine_for(settings.database_url)
    try:
        with database.transaction(engine) as session:
            return access.create_api_token(session, "bench", "viewer", actor="bench", now=utc_now())
    finally:
        engine.dispose()


def _table(result: dict[str, Any]) -> Table:
    """One column for each shape."""
    found = result["shapes"]
    table = Table(
        "", *(one["shape"] for one in found), title=f"an API process with {result['share']:g} of a core"
    )
    for name in found[0]:
        if name not in {"shape", "windows"}:
            table.add_row(name.replace("_", " "), *(_cell(one[name]) for one in found))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {_cell(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
