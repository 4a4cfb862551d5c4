"""`graylag worker` and `graylag beat`: one process each, configured by `GRAYLAG_*` variables alone."""

from typing import Annotated

import typer

import migrations
from service.config import settings
from service.jobs import ALL_QUEUES
from workers.app import create


def worker(
    queues: Annotated[
        str, typer.Option(help=f"Comma-separated: {', '.join(ALL_QUEUES)}. Give each its own keys.")
    ] = ",".join(ALL_QUEUES),
    concurrency: Annotated[int, typer.Option(min=1, help="Jobs at the same time.")] = 1,
) -> None:
    """Run background jobs of some queues."""
    foreign = sorted(set(queues.split(",")) - set(ALL_QUEUES))
    if foreign:
        raise typer.BadParameter(f"{foreign[0]!r} is none of {', '.join(ALL_QUEUES)}", param_hint="--queues")
    migrations.require_head(settings().database_url)
    create(settings()).worker_main(
        [
            *(
                "worker",
                "--queues",
                queues,
                "--concurrency",
                str(concurrency),
                "--loglevel",
                settings().log_level,
            ),
            *("--pool", "prefork" if concurrency > 1 or "delta" in queues.split(",") else "solo"),
            *("--without-gossip", "--without-mingle", "--disable-prefetch"),
        ]
    )


def beat() -> None:
    """Send the ticks: gates and sweeps. Run one; two do no harm."""
    create(settings()).Beat(
        loglevel=settings().log_level, schedule=":memory:", scheduler_cls="celery.beat.Scheduler"
    ).run()
