"""HTTP servers in processes of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from service.config import Settings
from service.infrastructure.embedded import free_ports
from service.testbed.connection import HttpConnection
from service.testbed.environment import environment_variables

START_TIMEOUT_S = 60.0
CHECK_INTERVAL_S = 0.1


class ServerNotStarted(Exception):
    """A server process did not listen in time; the message names its log file."""


@asynccontextmanager
async def api_process(settings: Settings, directory: Path) -> AsyncIterator[tuple[int, int]]:
    """Run `graylag api` with these settings; yield its process id and its port.

    Args:
        settings: settings of the API; its database must be migrated.
        directory: where to write `api.log`.
    """
    port = free_ports(1)[0]
    command = ("-m", "service.cli.main", "api", "--port", str(port))
    async with server_process(command, port, directory / "api.log", environment_variables(settings)) as pid:
        yield pid, port


@asynccontextmanager
async def server_process(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]
) -> AsyncIterator[int]:
    """Run a Python command until the block ends; yield its process id once it listens on `port`.

    Raises:
        ServerNotStarted: it does not listen in time.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        await _wait_until_listening(port, log)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _wait_until_listening(port: int, log: Path) -> None:
    for _ in range(int(START_TIMEOUT_S / CHECK_INTERVAL_S)):
        try:
            connection = await HttpConnection.open(port)
        except OSError:
            await asyncio.sleep(CHECK_INTERVAL_S)
        else:
            connection.close()
            return
    raise ServerNotStarted(f"no server listens on port {port} after {START_TIMEOUT_S:g} s; see {log}")
