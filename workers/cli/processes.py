"""`graylag worker` and `graylag beat`: one process each, configured by `GRAYLAG_*` variables only."""

from typing import Annotated

import typer

import migrations
from service.config import settings
from service.infrastructure.jobs import ALL_QUEUES
from workers.app import create


def worker(
    queues: Annotated[
        str,
        typer.Option(
            help=f"Queues to consume, comma-separated: {', '.join(ALL_QUEUES)}. "
            "Give the workers of each queue only the keys that its jobs need."
        ),
    ] = ",".join(ALL_QUEUES),
    concurrency: Annotated[int, typer.Option(min=1, help="Number of jobs run in parallel.")] = 1,
) -> None:
    """Run a worker: it takes background jobs from queues."""
    names = queues.split(",")
    unknown = sorted(set(names) - set(ALL_QUEUES))
    if unknown:
        raise typer.BadParameter(
            f"unknown queue {unknown[0]!r}; the queues are {', '.join(ALL_QUEUES)}", param_hint="--queues"
        )
    migrations.require_head(settings().database_url)
    pool = "prefork" if concurrency > 1 or "delta" in names else "solo"
    options = ["--queues", queues, "--concurrency", str(concurrency), "--pool", pool]
    options += ["--loglevel", settings().log_level]
    options += ["--without-gossip", "--without-mingle", "--disable-prefetch"]
    create(settings()).worker_main(["worker", *options])


def beat() -> None:
    """Run the scheduler: it sends the periodic tasks. Run one; a second one does no harm."""
    create(settings()).Beat(
        loglevel=settings().log_level, schedule=":memory:", scheduler_cls="celery.beat.Scheduler"
    ).run()
