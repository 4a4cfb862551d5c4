"""`graylag api` and `graylag migrate`: single processes, configured by `GRAYLAG_*` variables alone."""

from typing import Annotated

import typer
import uvicorn

import migrations
from service.config import settings
from service.main import create_app
from service.observability import configure_logging

GRACE_S = 5


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve devices and operators; start as many as there are cores."""
    chosen = settings()
    configure_logging(chosen.log_format, chosen.log_level)
    migrations.require_head(chosen.database_url)
    uvicorn.run(
        create_app(chosen),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        # Without it, one open connection keeps a stopping process alive for ever.
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=15,
        forwarded_allow_ips=chosen.trusted_proxies,
        server_header=False,
    )


def migrate(
    revision: Annotated[str, typer.Argument(help="Where to go.")] = "head",
    down: Annotated[
        bool, typer.Option("--down", help="Go back; tables that are dropped lose their data.")
    ] = False,
) -> None:
    """Bring the database schema to a revision."""
    url = settings().database_url
    before = migrations.current(url)
    (migrations.downgrade if down else migrations.upgrade)(url, revision)
    typer.echo(f"schema: {before or 'empty'} -> {migrations.current(url) or 'empty'}")
