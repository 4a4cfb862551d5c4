"""`graylag api` and `graylag migrate`: single processes, configured by `GRAYLAG_*` variables alone."""

import asyncio
import gc
import socket
import sys
from types import FrameType
from typing import Annotated

import typer
import uvicorn

import migrations
from service.cli.reception import Reception, Room, Visitor
from service.config import settings
from service.main import create_app
from service.observability import configure_logging

GRACE_S = 5
TURN_S = 0.00005
"""Longest turn of a thread that others wait for: a hundredth of Python's, which is meant for threads that all can wait.

Measured with a million devices, 2,600 polls a second, p99 while the snapshot is rebuilt: 34 ms at 500 microseconds,
24 at 100, 6 at 50; the most polls a second are the same.
"""


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve devices and operators; start as many as there are cores."""
    # While another thread works, such as one that rebuilds the snapshot, polls wait for their turn at the interpreter.
    sys.setswitchinterval(TURN_S)
    chosen = settings()
    configure_logging(chosen.log_format, chosen.log_level)
    migrations.require_head(chosen.database_url)
    app = create_app(chosen)
    # What is there now stays: the collector need not walk through all libraries again, for 100 ms, while polls wait.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
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
    DrainingServer(config, chosen.drain_s).run()


class DrainingServer(uvicorn.Server):
    """Says that it is going before it goes, so that a load balancer has sent its last request by then."""

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        """Take `drain_s` seconds from the signal to the stop."""
        super().__init__(config)
        self._drain_s = drain_s
        self._draining = False
        self._reception: Reception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections in by ourselves; see `reception`."""
        del sockets
        listening = self.config.bind_socket()
        await super().startup(sockets=[])
        room = Room(
            self.config.app.state.process.pressure,  # type: ignore[union-attr]  # as below
            lambda: len(self.server_state.tasks),
        )

        def visitor(let_in: bool) -> Visitor:
            parts = {"server_state": self.server_state, "app_state": self.lifespan.state}
            return Visitor(room, let_in=let_in, config=self.config, **parts)

        self._reception = Reception(listening, room, visitor)
        self._reception.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nobody in any more, then end what is under way."""
        if self._reception is not None:
            self._reception.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal; stop after that, or at the second one."""
        if self._draining or not self._drain_s:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self.config.app.state.draining = True  # type: ignore[union-attr]  # we gave it an application, not its name
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_s, super().handle_exit, sig, frame)


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
