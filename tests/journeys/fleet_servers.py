"""Servers that a journey may kill and restart, API processes on top of them, and devices."""

import json
import signal
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from service.infrastructure import database
from service.infrastructure.clock import utc_now
from service.infrastructure.embedded import Stack
from service.infrastructure.embedded.postgres import create_database
from service.infrastructure.embedded.stack import ping
from service.infrastructure.tokens import AccessTokens
from service.testbed import dataset
from service.testbed.connection import HttpConnection
from service.testbed.devices import (
    EVENTS,
    POLL,
    access_token_request,
    device_key_request,
    events_body,
    poll_body,
    synthetic_device,
)
from service.testbed.environment import SECRET, api_settings, create_empty_database
from service.testbed.server_process import api_process

TOKENS = AccessTokens(SECRET.encode(), 3600)
RECOVERY_S = 30


class Servers:
    """A stack whose servers can be killed."""

    def __init__(self, stack, endpoints, settings):
        self.stack, self.endpoints, self.settings = stack, endpoints, settings

    def kill(self, name):
        """Kill a server at once; PostgreSQL including its child processes."""
        child = self.stack._children[name]
        child.send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        child.wait()

    def restart(self, name):
        """Start a killed server at the same address with its data."""
        password, _access_key, _secret_key = self.stack._secrets()
        port = int(self._address(name).rsplit(":", 1)[1].split("/")[0])
        if name == "postgres":
            self.stack._start_postgres(port, password)
            self.stack.wait_for(name, lambda: create_database(self.endpoints.database_url))
        elif name == "valkey":
            self.stack._start_valkey(port, password)
            self.stack.wait_for(name, lambda: ping(self.endpoints.redis_url))

    def _address(self, name):
        return self.endpoints.database_url if name == "postgres" else self.endpoints.redis_url


@contextmanager
def fleet_servers(devices, **changes):
    """Run servers with a small dataset; `changes` are settings of the API."""
    with tempfile.TemporaryDirectory(prefix="graylag-test-") as path:
        directory = Path(path)
        directory.chmod(0o755)
        with Stack(directory, postgres={"fsync": "off"}) as stack:
            endpoints = stack.start_servers()
            url = create_empty_database(endpoints, "journey")
            engine = database.engine_for(url)
            dataset.populate(engine, dataset.DatasetSize(100, 2, 5), devices)
            engine.dispose()
            settings = api_settings(endpoints, url, directory).model_copy(update=changes)
            yield Servers(stack, endpoints, settings)
            stack.stop()
            stack.remove()


@asynccontextmanager
async def api(servers):
    """Run a `graylag api` process; yield its process id and port."""
    async with api_process(servers.settings, servers.stack.directory) as (pid, port):
        yield pid, port


class Phone:
    """A device that sends each request over a new connection."""

    def __init__(self, number, port):
        self.device, self.port = synthetic_device(number), port

    async def send(self, request):
        connection = await HttpConnection.open(self.port)
        try:
            status, body = await connection.send(request)
        finally:
            connection.close()
        return status, json.loads(body)

    async def poll(self, model, *, signed=False):
        body = poll_body(self.device, model, dataset.CURRENT_VERSION)
        if signed:
            return await self.send(device_key_request(self.device, POLL, body, utc_now()))
        return await self.send(access_token_request(self.device, POLL, body, TOKENS, utc_now()))

    async def report(self, body=None, *, signed=False):
        body = body or events_body(3)
        if signed:
            return await self.send(device_key_request(self.device, EVENTS, body, utc_now()))
        return await self.send(access_token_request(self.device, EVENTS, body, TOKENS, utc_now()))
